"""Own parts: registered or imported by name, checked first, and refused by one line."""

import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MLP, Call
from torch import Tensor, nn

import ganatomy as gan
from ganatomy.data import (
    DATASETS,
    Dataset,
    Samples,
    Size,
    Split,
    check_dataset,
    load,
    mnist,
    register_dataset,
)
from ganatomy.gan.check import check_loss, register_loss
from ganatomy.gan.losses import LOSSES, Labels, Loss
from ganatomy.gan.state import State, check_recipe, unsupported
from ganatomy.gan.step import steps
from ganatomy.models import MODELS, Model, NetworkConfig, check_model, find_model, register_model
from ganatomy.models.mlp import MLP as MLP_MODEL
from ganatomy.models.net import Networks, Support
from ganatomy.runs.folder import Run
from ganatomy.validation import flat

DATA = mnist.mnist10k(Path())
FEW = Samples(DATA.values[:50], DATA.labels[:50], DATA.classes)
PLAIN = MLP.replace(g_norm="none", d_norm="none", g_dropout=0.0, d_dropout=0.0)


pytestmark = pytest.mark.usefixtures("own_parts")


class Apply(nn.Module):
    """A layer of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def make(shape: tuple[int, ...], z_dim: int, last_g: Any = None, last_d: Any = None) -> Networks:
    """Two layers each."""
    g = nn.Sequential(nn.Linear(z_dim, 8), nn.ReLU(), nn.Linear(8, 784), nn.Tanh())
    d = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    g.append(nn.Unflatten(1, (1, 28, 28)))
    return g.append(Apply(last_g)) if last_g else g, d.append(Apply(last_d)) if last_d else d


OWN = """
from pathlib import Path
from ganatomy.data import Samples, mnist
from ganatomy.gan.losses import LOSSES
from test_parts import make

loss = LOSSES["hinge"]
digits = mnist.mnist10k(Path())
few = Samples(digits.values[:100], digits.labels[:100], digits.classes)


class Nested:
    make = staticmethod(make)


def one(shape):
    return 1
"""

# Importable names


def test_importable_names_train_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    names = {"model": "own_parts:Nested.make", "loss": "own_parts:loss", "dataset": "own_parts:few"}
    flags = [word for field, name in names.items() for word in (f"--{field}", name)]
    code, _, said = call("train", "basic-gan", *flags, "--steps", 2, "--out", "run", "--quiet")
    assert code == 0, said
    run = Run.open(Path("run"))
    assert {name: flat(run.recipe)[name] for name in names} == names
    code, _, said = call("resume", "run", "--steps", 3, "--quiet")
    assert code == 0, said
    Path("own_parts.py").unlink()
    del sys.modules["own_parts"]
    code, _, said = call("resume", "run", "--steps", 4, "--quiet")
    assert code == 2 and "own_parts:Nested.make is not a model: cannot import it" in said


def test_a_recipe_file_names_own_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    (tmp_path / "own_file.py").write_text(OWN)
    (tmp_path / "mine.toml").write_text(
        'steps = 1\nloss = "own_file:loss"\n[network]\nmodel = "own_file:make"\n'
    )
    monkeypatch.chdir(tmp_path)
    code, _, said = call("train", "mine.toml", "--dataset", "own_file:few", "--quiet")
    assert code == 0, said


@pytest.mark.parametrize(
    ("field", "name", "said"),
    [
        ("model", "own_none:make", "own_none:make is not a model: cannot import it .*own_none"),
        ("model", "own_bad:make", r"own_bad:make is not a model: cannot import it \(SyntaxError"),
        ("model", "own_it:absent", "own_it:absent is not a model: .* has no attribute 'absent'"),
        ("model", "own_it:few", "own_it:few is not a model: expected a Model or a function .*Samp"),
        ("model", "own_it:one", r"own_it:one is not a model: .* got a function \(shape\)"),
        ("loss", "own_it:make", "own_it:make is not a loss: expected a .*Loss, got a function"),
        ("dataset", "own_it:loss", "own_it:loss is not a dataset: expected images .* got a Loss"),
    ],
)
def test_other_objects_are_refused_by_one_line(
    field: str, name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    (tmp_path / "own_it.py").write_text(OWN)
    (tmp_path / "own_bad.py").write_text("1 +")
    monkeypatch.chdir(tmp_path)
    flags = {"dataset": "mnist10k", field: name}
    code, _, line = call(
        "train", "basic-gan", *(w for f, v in flags.items() for w in (f"--{f}", v))
    )
    assert code == 2 and re.search(said, line) and line.count("\n") == 1
    assert not Path("runs").exists()


def test_a_function_of_the_full_signature_reads_the_widths() -> None:
    def build(shape: tuple[int, ...], z_dim: int, g: NetworkConfig, d: NetworkConfig) -> Networks:
        assert (g.widths, d.widths) == ((16, 16), (16,))
        return make(shape, z_dim)

    MODELS["mine"] = Model(build)
    State.new(PLAIN.replace(model="mine"), DATA.shape)


# What a model does not take


def test_settings_that_a_model_does_not_take_are_refused_not_ignored() -> None:
    MODELS["mine"] = Model(lambda shape, z_dim, g, d: make(shape, z_dim))
    recipe = MLP.replace(model="mine")
    said = "mine does not take g_norm, d_norm, g_dropout, d_dropout; set g_norm none, .*, or use"
    for refuse in (check_recipe, lambda recipe: State.new(recipe, DATA.shape)):
        with pytest.raises(ValueError, match=said + " mlp, dcgan, sagan"):
            refuse(recipe)
    assert unsupported(recipe) == dict.fromkeys(("g_norm", "d_norm"), "none") | dict.fromkeys(
        ("g_dropout", "d_dropout"), 0.0
    )
    taken = recipe.replace(**unsupported(recipe))
    assert unsupported(taken) == {} and check_recipe(taken) is LOSSES["non_saturating"]


def test_from_python_own_networks_drop_what_a_named_recipe_sets(tmp_path: Path) -> None:
    run = gan.train(
        "mnist-fast", tmp_path / "run", networks=make, dataset="mnist10k", steps=1, progress=False
    )
    assert run.recipe.network.model == "test_parts:make" and run.recipe.generator.norm == "none"
    with pytest.raises(ValueError, match="does not take g_norm"):
        gan.train("mnist-fast", tmp_path / "b", networks=make, g_norm="batch", progress=False)
    assert not (tmp_path / "b").exists()


def test_real_and_fake_share_a_pass_only_where_a_model_says_so() -> None:
    def passes(*supports: Support) -> list[int]:
        seen: list[int] = []

        def noted(logits: Tensor) -> Tensor:
            seen.append(len(logits))
            return logits

        def build(shape: Any, z_dim: int, g: NetworkConfig, d: NetworkConfig) -> Networks:
            return make(shape, z_dim, last_d=noted)

        MODELS["mine"] = Model(build, supports=frozenset(supports))
        state = State.new(PLAIN.replace(model="mine", d_steps=1, g_steps=1), DATA.shape)
        seen.clear()
        next(steps(state, PLAIN.replace(model="mine", d_steps=1, g_steps=1), DATA))
        return seen

    assert passes() == [16, 16, 16] and passes("one_pass") == [32, 16]


@pytest.mark.parametrize(
    ("last_g", "last_d", "said"),
    [
        (
            lambda x: x.flatten(1),
            None,
            r"generator must return .* \(N, \*\(1, 28, 28\)\), got .*784",
        ),
        (Tensor.double, None, "generator must return float32 samples .* got torch.float64"),
        (None, lambda x: x[:, None].expand(-1, 3), r"of shape \(N,\) = \(2,\), got \(2, 3\)"),
        (None, lambda x: x.sum(), r"of shape \(N,\) = \(2,\), got \(\)"),
    ],
)
def test_networks_of_other_shapes_leave_no_state(last_g: Any, last_d: Any, said: str) -> None:
    MODELS["mine"] = Model(lambda shape, z_dim, g, d: make(shape, z_dim, last_g, last_d))
    with pytest.raises(ValueError, match=said):
        State.new(PLAIN.replace(model="mine"), DATA.shape)
    with pytest.raises(ValueError, match="cannot take latent vectors of 8 and samples of shape"):
        MODELS["mine"] = Model(lambda shape, z_dim, g, d: make(shape, z_dim + 1))
        State.new(PLAIN.replace(model="mine"), DATA.shape)


# Checks: one broken part for each rule


def unseeded(shape: tuple[int, ...], z_dim: int) -> Networks:
    g, d = make(shape, z_dim)
    nn.init.normal_(next(g.parameters()), generator=torch.Generator().manual_seed(next(COUNT)))
    return g, d


COUNT = itertools.count()


def outside_the_state(shape: tuple[int, ...], z_dim: int) -> Networks:
    return make(shape, z_dim, partial(torch.mul, torch.rand(())))


def claiming(claim: Support, build: Any = None) -> Model:
    """A model that takes no setting, but claims to."""
    return Model(build or (lambda shape, z_dim, g, d: make(shape, z_dim)), "", frozenset({claim}))


def with_batch_norm(shape: tuple[int, ...], z_dim: int, g: Any, d: Any) -> Networks:
    first, second = make(shape, z_dim)
    return first, nn.Sequential(nn.BatchNorm2d(1), second)


def norm_in_both(shape: tuple[int, ...], z_dim: int, g: Any, d: Any) -> Networks:
    first, second = with_batch_norm(shape, z_dim, g, d)
    return (
        (nn.Sequential(first, nn.BatchNorm2d(1)), second)
        if g.norm != "none"
        else make(shape, z_dim)
    )


def frozen(shape: tuple[int, ...], z_dim: int) -> Networks:
    g, d = make(shape, z_dim)
    return g, d.requires_grad_(False)


def attention_anywhere(shape: tuple[int, ...], z_dim: int, g: Any, d: Any) -> Networks:
    first, second = make(shape, z_dim)
    return (
        nn.Sequential(first, nn.Conv2d(1, 1, 1), nn.Tanh()) if g.attention else first,
        nn.Sequential(nn.Conv2d(1, 1, 1), second) if d.attention else second,
    )


BROKEN_MODELS: dict[str, Any] = {
    "built from one seed differ": unseeded,
    r"leave \[-1, 1\]": partial(make, last_g=lambda x: 2 * x),
    "no gradient reaches the generator": partial(make, last_g=lambda x: x.detach()),
    "no gradient reaches the discriminator": frozen,
    "generator's gradient is not finite": partial(make, last_g=lambda x: x + (x - x).sqrt()),
    "generator draws random numbers": partial(make, last_g=lambda x: x * torch.rand(())),
    "discriminator draws random numbers": partial(make, last_d=lambda x: x * torch.rand(())),
    "generator mixes the samples": partial(make, last_g=lambda x: (x - x.mean(0)) / 2),
    "discriminator mixes the samples": partial(make, last_d=lambda x: x - x.mean() / 2),
    "weights that its state_dict lacks": outside_the_state,
    "norm of the generator changes the other": claiming("norm", norm_in_both),
    "claims norm, which has no effect on the generator": claiming("norm"),
    "claims dropout, which has no effect on the generator": claiming("dropout"),
    "claims activation, which has no effect on the generator": claiming("activation"),
    "claims attention, which has no effect on the generator": claiming("attention"),
    "takes attention 29, a side": claiming("attention", attention_anywhere),
    "claims one_pass, but": claiming("one_pass", with_batch_norm),
}


@pytest.mark.parametrize("said", BROKEN_MODELS)
def test_a_model_that_breaks_a_rule_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=f"the model mine is refused: .*{said}"):
        register_model("mine", BROKEN_MODELS[said])
    assert "mine" not in MODELS


SOUND = LOSSES["non_saturating"]


def changes_its_input(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        real.add_(1)
    return SOUND.d(real, fake, labels)


def probability(logits: Tensor) -> Tensor:
    return -logits.sigmoid().log().mean()


BROKEN_LOSSES: dict[str, Loss] = {
    "expected three scalars": replace(SOUND, g=lambda real, fake: -fake),
    "changes the logits": replace(SOUND, d=changes_its_input),
    "not finite at logits of -100": replace(SOUND, g=lambda real, fake: probability(fake)),
    "take means, not sums": replace(SOUND, g=lambda real, fake: -fake.sum()),
    "d does not raise the logits of real": replace(
        SOUND, d=lambda real, fake, labels: SOUND.d(-real, fake, labels)
    ),
    "d does not lower the logits of gen": replace(
        SOUND, d=lambda real, fake, labels: SOUND.d(real, -fake, labels)
    ),
    "g does not raise": replace(SOUND, g=lambda real, fake: fake.mean()),
    "takes_labels is False, but labels have an effect": replace(SOUND, takes_labels=False),
    "takes_labels is True, but labels have no effect": replace(LOSSES["hinge"], takes_labels=True),
    "probabilities is True, but": replace(LOSSES["least_squares"], probabilities=True),
}


@pytest.mark.parametrize("said", BROKEN_LOSSES)
def test_a_loss_that_breaks_a_rule_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=f"the loss mine is refused: .*{said}"):
        register_loss("mine", BROKEN_LOSSES[said])
    assert "mine" not in LOSSES


def loader(**changes: Any) -> Dataset:
    """A dataset of a few digits whose samples have changed fields."""

    def load(root: Path, split: Split = "train", shape: Any = None) -> Samples:
        values = FEW.values if split == "train" else FEW.values.flip(0)
        made = Samples(values, FEW.labels, FEW.classes)
        if shape is not None:
            made = replace(made, values=torch.zeros(50, *shape, dtype=torch.uint8))
        return replace(made, **{name: change(split) for name, change in changes.items()})

    return Dataset(load)


POINTS = {"values": lambda split: torch.full((50, 2), 1.5), "classes": lambda split: DATA.classes}
BROKEN_DATASETS: dict[str, Any] = {
    "must return Samples, got a Tensor": lambda root, split="train", shape=None: DATA.values,
    "values must be images, .* got torch.float32": loader(values=lambda split: FEW.values / 255.0),
    r"values must be images, .* got torch.uint8 \(50, 28, 28\)": loader(
        values=lambda split: FEW.values[:, 0]
    ),
    r"points must lie in \[-1, 1\]": loader(**POINTS),
    "labels must be int64": loader(labels=lambda split: FEW.labels.float()),
    "labels must be classes' indices": loader(labels=lambda split: FEW.labels + 9),
    "labels must be classes' indices, .* or all 0": loader(classes=lambda split: ()),
    "two loads differ": loader(
        values=lambda split: torch.randint(256, (50, 1, 28, 28), dtype=torch.uint8)
    ),
    "its size is": replace(loader(), size=Size(49, (1, 28, 28))),
    r"shape \(3, 12, 10\) was asked for": loader(values=lambda split: FEW.values),
    "test split has another shape, or other": loader(
        classes=lambda split: FEW.classes if split == "train" else DATA.classes[::-1]
    ),
    "both splits have the same samples": Dataset(
        lambda root, split="train", shape=None: loader().load(root, "train", shape)
    ),
}


@pytest.mark.parametrize("said", BROKEN_DATASETS)
def test_a_dataset_that_breaks_a_rule_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=f"the dataset mine is refused: .*{said}"):
        register_dataset("mine", BROKEN_DATASETS[said])
    assert "mine" not in DATASETS


# Registering


def test_registered_parts_train() -> None:
    register_model("mine", make, "two layers")
    register_loss("mine", LOSSES["hinge"], "a margin")
    register_dataset("mine", FEW)
    assert MODELS["mine"].about == "two layers" and LOSSES["mine"].about == "a margin"
    assert DATASETS["mine"].size == Size(50, (1, 28, 28))
    recipe = PLAIN.replace(dataset="mine", model="mine", loss="mine", real_label=(1, 1))
    recipe = recipe.replace(fake_label=(0, 0), steps=2)
    data = load("mine", Path(), "train")
    assert torch.equal(data.labels, FEW.labels) and data.classes == FEW.classes
    assert len(list(steps(State.new(recipe, data.shape), recipe, data))) == 2
    with pytest.raises(ValueError, match="these images have no test split"):
        load("mine", Path(), "test")


@pytest.mark.parametrize(
    ("register", "name", "part"),
    [
        (register_model, "mlp", make),
        (register_loss, "hinge", SOUND),
        (register_dataset, "mnist", FEW),
    ],
)
def test_names_are_taken_once(register: Any, name: str, part: Any) -> None:
    with pytest.raises(ValueError, match=f"there is a .* '{name}' already; choose another name"):
        register(name, part)
    for bad in ("", "a:b"):
        with pytest.raises(ValueError, match="needs a name without a colon"):
            register(bad, part)


def test_networks_of_one_shape_are_checked_with_it() -> None:
    def colored(shape: tuple[int, ...], z_dim: int) -> Networks:
        g, d = make((1, 28, 28), z_dim)
        return nn.Sequential(g, nn.Conv2d(1, 3, 1), nn.Tanh()), nn.Sequential(nn.Conv2d(3, 1, 1), d)

    with pytest.raises(ValueError, match=r"cannot take .* samples of shape \(1, 28, 28\)"):
        register_model("colored", colored)
    register_model("colored", colored, shape=(3, 28, 28))


class Pairs(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A few digits, as torchvision has them."""

    def __len__(self) -> int:
        return len(FEW)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return FEW.values[index] / 255, int(FEW.labels[index])


def test_a_torch_dataset_keeps_its_labels() -> None:
    register_dataset("mine", Pairs())
    made = load("mine", Path(), "train")
    assert torch.equal(made.values, FEW.values) and torch.equal(made.labels, FEW.labels)
    assert len(made.classes) == 10 and load("mine", Path(), None, shape=(3, 8, 8)).shape == (
        3,
        8,
        8,
    )


def test_checks_take_parts_as_users_have_them() -> None:
    check_model(make)
    check_loss(SOUND)
    for part in (FEW, FEW.values, FEW.values.numpy(), Pairs(), loader(), loader().load):
        check_dataset(part)
    assert find_model("ganatomy.models.mlp:MLP") is MLP_MODEL is find_model("mlp")
