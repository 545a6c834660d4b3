"""The public API: what `import ganatomy` exposes, and what it does with a user's own parts."""

import ast
import functools
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MLP
from torch import Tensor, nn

import ganatomy as gan
from ganatomy.api import parts
from ganatomy.data import DATASETS
from ganatomy.gan.losses import LOSSES, Labels
from ganatomy.models import MODELS

PUBLIC = [
    *("train", "train_many", "resume", "load", "evaluate", "compare", "study", "study_all"),
    *("register_dataset", "register_model", "register_loss", "register_metric"),
    *("list_recipes", "list_datasets", "list_models", "list_losses", "list_metrics"),
    *("check_dataset", "check_model", "check_loss", "check_metric"),
    *("Recipe", "RunOptions", "Protocol", "Loss", "State", "steps"),
    *("Run", "Evaluation", "Diagnosis", "Interpolation", "ClassCounts", "Page", "StudyResult"),
]

FAST: dict[str, Any] = {"log_every": 1, "threads": 1, "device": "cpu", "progress": False}


class Digits(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A user's own dataset: float images in [0, 1] with labels."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return torch.full((1, 8, 8), (i % 4) / 3), i % 4


def networks(shape: tuple[int, ...], z_dim: int) -> tuple[nn.Module, nn.Module]:
    """A user's own networks."""
    size = int(np.prod(shape))
    g = nn.Sequential(nn.Linear(z_dim, size), nn.Tanh(), nn.Unflatten(1, shape))
    return g, nn.Sequential(nn.Flatten(), nn.Linear(size, 1))


def shifted_d(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """A user's own loss of the discriminator."""
    return (real - 2).square().mean(), (fake + 2).square().mean()


def shifted_g(real: Any, fake: Tensor) -> Tensor:
    """A user's own loss of the generator."""
    return (fake - 2).square().mean()


PLAIN = MLP.replace(
    g_norm="none", d_norm="none", g_dropout=0, d_dropout=0, real_label=(1, 1), fake_label=(0, 0)
)

LOSS = gan.Loss(shifted_d, shifted_g, takes_labels=False, probabilities=False)


def weights(run: gan.Run) -> Tensor:
    return torch.cat([p.flatten() for p in run.generator().parameters()])


def test_the_public_names_are_these() -> None:
    assert sorted(gan.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(gan))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(inspect.getfile(gan)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = [alias.asname for line in block.body for alias in line.names]  # type: ignore[attr-defined]
    assert sorted(seen) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented_and_typed(name: str) -> None:
    thing = getattr(gan, name)
    assert thing.__doc__ and len(thing.__doc__) > 20
    if inspect.isfunction(thing):
        parameters = inspect.signature(thing).parameters.values()
        assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
        assert "Raises:" in thing.__doc__ or name.startswith("list_")


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="trian"):
        gan.trian  # noqa: B018


def test_importing_is_fast_and_does_not_import_torch() -> None:
    light = (
        "import sys, time; t = time.process_time(); import ganatomy; "
        "print(time.process_time() - t, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    outs = [
        subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    found = [out.stdout.split() for out in outs]
    assert {tuple(words[1:]) for words in found} == {("False", "False")}
    assert min(float(words[0]) for words in found) < 0.05


def test_the_package_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ganatomy", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ganatomy {gan.__version__}\n"


def test_a_run_is_trained_continued_and_opened(tmp_path: Path) -> None:
    rows: list[Any] = []
    run = gan.train(MLP, str(tmp_path / "run"), steps=4, loggers=[rows.append], **FAST)
    assert isinstance(run, gan.Run) and run.step == 4
    assert [row["step"] for row in rows] == [1, 2, 3, 4] == [row["step"] for row in run.log]
    longer = gan.resume(run, steps=6, **FAST)
    straight = gan.train(MLP, tmp_path / "straight", steps=6, **FAST)
    assert longer.step == 6 and torch.equal(weights(longer), weights(straight))
    again = gan.load(str(tmp_path / "run"))
    assert torch.equal(again.sample(5, seed=3), straight.sample(5, seed=3))
    assert again.show(9).size == (3 * 30 + 2, 3 * 30 + 2)
    assert again.to_dict()["step"] == 6 and repr(again).startswith("Run(")
    assert "data:image/png;base64," in again._repr_html_()
    branch = gan.resume(run, step=4, lr_g=1e-3, steps=8, **FAST)
    assert branch.path.name == "run-from-4" and branch.recipe.generator.lr == 1e-3


def test_fields_and_options_go_by_name(tmp_path: Path) -> None:
    run = gan.train("basic-gan", tmp_path / "a", dataset="mnist10k", batch=8, steps=1, **FAST)
    assert run.recipe.data.dataset == "mnist10k" and run.options.log_every == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lrg": 1.0}, r"unknown field 'lrg' \(did you mean 'lr_g'\?\)"),
        ({"divice": "cpu"}, r"unknown field 'divice' \(did you mean 'device'\?\)"),
        ({"lr_g": "fast"}, "lr_g must be a number, got 'fast'"),
        ({"log_every": 0}, "log_every must lie in"),
        ({"model": "mpl"}, r"unknown model 'mpl' \(did you mean 'mlp'\?\)"),
        ({"loss": "wassersten"}, r"unknown loss 'wassersten' \(did you mean 'wasserstein'\?\)"),
        ({"dataset": "mnits"}, r"unknown dataset 'mnits' \(did you mean 'mnist'\?\)"),
        ({"data": torch.full((9, 1, 8, 8), 7.0)}, r"expected floats in \[0, 1\]"),
        ({"steps": 0}, "steps must lie in"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        gan.train(MLP, tmp_path / "run", **settings)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_an_unknown_recipe_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'mnist-fast'"):
        gan.train("mnist-fsat", tmp_path / "run")
    with pytest.raises(ValueError, match="is not a run folder"):
        gan.load(tmp_path)


def test_only_the_length_of_a_run_changes(tmp_path: Path) -> None:
    run = gan.train(MLP, tmp_path / "run", steps=2, **FAST)
    with pytest.raises(ValueError, match="to change lr_g, branch off"):
        gan.resume(run, lr_g=0.1)


def test_own_images_are_trained_on_and_keep_their_labels(tmp_path: Path) -> None:
    run = gan.train(MLP, tmp_path / "run", data=Digits(), steps=3, **FAST)
    name = run.recipe.data.dataset
    assert name.startswith("tensor-") and run.sample(2).shape == (2, 1, 8, 8)
    kept = DATASETS[name].load(Path(), "train")
    assert kept.labels.tolist() == [i % 4 for i in range(40)]
    assert kept.values.unique().tolist() == [0, 85, 170, 255]
    same = torch.stack([Digits()[i][0] for i in range(40)])
    unlabeled = gan.train(MLP, tmp_path / "tensor", data=same, steps=3, **FAST)
    assert torch.equal(weights(run), weights(unlabeled))
    assert unlabeled.recipe.data.dataset != name  # labels are part of the identity


@pytest.mark.parametrize("part", ["data", "networks", "loss"])
def test_own_parts_resume_exactly_and_are_asked_for_again(tmp_path: Path, part: str) -> None:
    own: dict[str, Any] = {"data": Digits(), "networks": networks, "loss": LOSS}
    run = gan.train(PLAIN, tmp_path / "run", steps=3, **own, **FAST)
    straight = gan.train(PLAIN, tmp_path / "straight", steps=6, **own, **FAST)
    table = {"data": DATASETS, "networks": MODELS, "loss": LOSSES}[part]
    fields = {"data": run.recipe.data.dataset, "networks": run.recipe.network.model}
    name = (fields | {"loss": run.recipe.objective.loss})[part]
    if table.pop(name, None):  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match=rf"pass the same object again as {part}="):
            gan.resume(run, steps=6, **FAST)
    else:
        assert name.startswith("test_api:")  # which another process imports
    resumed = gan.resume(run, steps=6, **{part: own[part]}, **FAST)
    assert torch.equal(weights(resumed), weights(straight))


def test_an_importable_function_is_named_by_its_module(tmp_path: Path) -> None:
    run = gan.train(PLAIN, tmp_path / "a", networks=networks, steps=1, **FAST)
    assert run.recipe.network.model == "test_api:networks"
    inner = gan.train(
        PLAIN,
        tmp_path / "b",
        networks=lambda *a: networks(*a),
        steps=1,
        **FAST,
    )
    assert inner.recipe.network.model.startswith("python-")


@pytest.mark.filterwarnings("ignore:n = 300 is below 2,048")
def test_a_run_is_measured_compared_and_interpolated(tmp_path: Path) -> None:
    recipe = gan.Recipe.of(dataset="mnist10k", steps=6, batch=8, g_widths=(8,), d_widths=(8,))
    run = gan.train(recipe, tmp_path / "run", sample_every=3, **FAST)
    measured = run.evaluate("classifier-2k", "fid, prdc", n=300, device="cpu")
    assert set(measured) == {"fd", "precision", "recall", "density", "coverage"}
    assert measured["fid"] == measured["fd"] and measured.n == 300
    low, high = measured.interval("precision") or (0, 0)
    assert low <= measured["precision"] <= high and measured.real("precision")
    how: dict[str, Any] = {"protocol": "classifier-2k", "metrics": "precision", "device": "cpu"}
    other = gan.evaluate(run.sample(300), real="mnist", **how)
    assert other["precision"] == pytest.approx(measured["precision"], abs=0.1)
    assert other.fingerprint != measured.fingerprint
    assert gan.compare([run, str(run.path)]).save(tmp_path / "p.html").exists()
    made = run.interpolate(pairs=2, k=3)
    assert made.samples.shape == (2, 4, 1, 28, 28) and made.show().size[0] == 4 * 30 + 2
    assert run.class_counts(40).n == 40


@pytest.mark.parametrize("pixels", ["floats", "signed", "uint8"])
def test_images_of_any_form_have_one_score(pixels: str) -> None:
    images = DATASETS["mnist10k"].load(Path(), "train").values[:400]
    form = {"uint8": images, "floats": images / 255.0, "signed": images / 127.5 - 1}[pixels]
    how: dict[str, Any] = {"protocol": "classifier-2k", "metrics": "precision", "device": "cpu"}
    found = gan.evaluate(form, real="mnist", **how)
    whole = gan.evaluate(images, real="mnist", **how)
    assert found["precision"] == whole["precision"] and found.n == 400
    assert found.fingerprint == whole.fingerprint


def shifted_by(margin: float) -> gan.Loss:
    """Losses that differ in a captured value only."""
    return gan.Loss(
        lambda real, fake, labels: ((real - margin).square().mean(), fake.square().mean()),
        lambda real, fake: (fake - margin).square().mean(),
    )


def test_what_a_function_captures_is_part_of_its_identity() -> None:
    one, same, other = (parts.given(None, None, shifted_by(m))["loss"] for m in (1.0, 1.0, 2.0))
    assert one == same != other
    bound = [functools.partial(networks, z_dim=z) for z in (3, 3, 4)]
    names = [parts._name({}, make, make, make) for make in bound]
    assert names[0] == names[1] != names[2]


def test_lists_take_patterns() -> None:
    assert gan.list_recipes("*-cifar10") == [
        "dcgan-cifar10",
        "sagan-cifar10",
        "wgan-cifar10",
        "wgan-gp-cifar10",
    ]
    assert {"mnist", "mnist10k"} <= set(gan.list_datasets("mnist*"))
    assert "mlp" in gan.list_models() and "hinge" in gan.list_losses()
    assert "fd" in gan.list_metrics()
