"""Small recipes with everything on, and where the full datasets are, if anywhere."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import hypothesis
import pytest
import torch

from ganatomy.cli.main import main
from ganatomy.data import DATASETS, Samples
from ganatomy.evaluation.metrics import METRICS
from ganatomy.gan.draws import CpuDraws
from ganatomy.gan.losses import LOSSES
from ganatomy.models import MODELS
from ganatomy.recipes.recipe import Recipe
from ganatomy.validation import flat, leaves

hypothesis.settings.register_profile("no deadline", deadline=None)  # CI machines are shared
hypothesis.settings.load_profile("no deadline")

MLP = Recipe.of(
    dataset="mnist10k",
    model="mlp",
    z_dim=8,
    g_widths=(16, 16),
    d_widths=(16,),
    g_norm="batch",
    d_norm="batch",
    g_dropout=0.2,
    d_dropout=0.3,
    real_label=(0.7, 1.0),
    fake_label=(0.0, 0.3),
    batch=16,
    steps=14,
    d_steps=2,
    g_steps=2,
    ema=0.9,
)
CONV = MLP.replace(model="dcgan", g_widths=(4,), d_widths=(4,))
PENALIZED = MLP.replace(
    d_norm="none",
    g_activation="relu",
    d_activation="tanh",
    latent="uniform",
    spectral="both",
    init="xavier",
    loss="least_squares",
    gp=2.0,
    dragan=1.0,
    r1=0.5,
    r2=0.3,
    same_fakes=True,
    opt_d="rmsprop",
    lr_d=4e-4,
    schedule="cosine",
)
"""With every penalty, spectral norm and a schedule."""

SAGAN = PENALIZED.replace(
    model="sagan", g_widths=(4,), d_widths=(4,), attention=(14,), batch=4, steps=6, d_steps=1
)
"""The same with attention: one of its steps takes ten of the others'."""

FULL = {"mlp": MLP, "dcgan": CONV}


def another(recipe: Recipe, name: str) -> Any:
    """A value of a field, by public name, that is not the recipe's."""
    if name == "shape":
        return (1, 32, 32)
    return _another(leaves(Recipe)[name].kind, flat(recipe)[name])


def _another(kind: Any, now: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _another(args[0], now)
    if origin is Literal:
        return next(option for option in args if option != now)
    if origin is tuple:
        return tuple(_another(args[0], value) for value in now or (None,))
    if kind is bool:
        return not now
    if kind is str:
        return f"{now}-2"
    return (now or 1.0) / 2 if kind is float else (now or 13) + 1


def shape_of(recipe: Recipe) -> tuple[int, ...]:
    """The shape of a sample of the recipe's dataset, which need not be here."""
    dataset = DATASETS[recipe.data.dataset]
    return recipe.data.shape or (dataset.size or dataset.load(Path())).shape


def in_doubles(patch: pytest.MonkeyPatch) -> None:
    """Let noise and batches be what they are, in float64."""
    randn, latent, take = torch.randn, CpuDraws.latent, Samples.batch
    patch.setattr(CpuDraws, "latent", lambda draws: latent(draws).double())
    patch.setattr(torch, "randn", lambda *size, **how: randn(*size, **how).double())
    patch.setattr(Samples, "batch", lambda *given: take(*given).double())


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


@pytest.fixture(params=FULL)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """A recipe with dropout, norm, label ranges, averaging and several updates a step."""
    return FULL[request.param]


@pytest.fixture
def own_parts(tmp_path: Path) -> Iterator[None]:
    """Leave registries, modules and the search path as they were."""
    tables: list[dict[str, Any]] = [DATASETS, LOSSES, METRICS, MODELS]
    before, path = [dict(table) for table in tables], list(sys.path)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.fixture
def full_data() -> Path:
    """The folder that holds MNIST/raw; the test is skipped where there is none."""
    for root in (os.environ.get("GANATOMY_DATA"), "../shared/data"):
        if root and (Path(root) / "MNIST/raw/train-images-idx3-ubyte").exists():
            return Path(root)
    pytest.skip("full MNIST is not here; point GANATOMY_DATA at the folder of MNIST/raw")


@pytest.fixture(autouse=True)
def threads_of_a_test_are_its_own() -> Iterator[None]:
    """Restore the number of threads: two workers with two each on two cores wait for each other."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for the tests alone; they neither use nor fill the one of who runs them."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root))
        patch.setenv("GANATOMY_OFFLINE", "1")
        yield root


@pytest.fixture(scope="session")
def ray_of_the_tests() -> Iterator[None]:
    """For workers, where tests are; for clusters, a secret, so that none is put into the home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of Inception weights drawn at random: the true ones cannot be had offline."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, file)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = FeatureExtractorInceptionV3("random", ["64"], str(file))
    for name, buffer in net.named_buffers():  # so that no layer is dead or explodes
        if name.endswith("running_var"):
            buffer.fill_(0.15)
    torch.save(net.state_dict(), file)
    return file


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the program in this process and return its code, output and complaints."""

    def run_main(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as end:  # help
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main
