"""Recipes are data: they round-trip, refuse nonsense and keep their published names."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tyro
from conftest import CONV, MLP, Call, another
from hypothesis import given
from hypothesis import strategies as st

from ganatomy.data import DATASETS
from ganatomy.gan.losses import LOSSES
from ganatomy.models import MODELS
from ganatomy.recipes import named
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import DataSection, Recipe, RunOptions, differences
from ganatomy.validation import flat, from_dict, leaves, to_dict

KEYS = {
    "basic-gan": "f79cc65a",
    "conv-gan": "283c1f47",
    "original-gan": "fd75201e",
    "enhanced-gan": "04b31c36",
    "enhanced-gan-no-g-norm": "de0dddfd",
    "enhanced-gan-no-d-norm": "0ae1f80e",
    "enhanced-gan-no-norm": "3d2e3fbf",
    "enhanced-gan-celeba": "b448506f",
    "dcgan64": "04f34915",
    "dcgan64-z200": "1a37aab8",
    "capacity-z16-g16-d16": "d240ea89",
    "capacity-z16-g100-d16": "15418ee1",
    "capacity-z16-g16-d100": "ddd6f818",
    "capacity-z16-g100-d100": "fef6282b",
    "capacity-z100-g16-d16": "5120f52d",
    "capacity-z100-g100-d100": "aed75e67",
    "dcgan-cifar10": "f0721486",
    "sagan-cifar10": "bfe6170c",
    "wgan-cifar10": "df1dad71",
    "wgan-gp-cifar10": "85925ee0",
    "mnist-fast": "6f3ec5c4",
}
"""Published keys; they never change."""


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_name_real_parts_and_keep_their_keys(name: str) -> None:
    recipe = RECIPES[name].recipe
    assert recipe.data.dataset in DATASETS
    assert recipe.network.model in MODELS and recipe.objective.loss in LOSSES
    assert recipe.key == KEYS[name] and RECIPES[name].about


def test_no_published_recipe_is_gone_and_no_two_are_one() -> None:
    assert RECIPES.keys() == KEYS.keys() and len(set(KEYS.values())) == len(KEYS)


@given(
    z_dim=st.integers(1, 4096),
    lr_g=st.floats(0, 10),
    widths=st.lists(st.integers(1, 4096), max_size=5),
    epochs=st.floats(1e-6, 1e6),
    norm=st.sampled_from(["batch", "none"]),
)
def test_round_trip(z_dim: int, lr_g: float, widths: list[int], epochs: float, norm: Any) -> None:
    made = Recipe.of(z_dim=z_dim, lr_g=lr_g, g_widths=tuple(widths), epochs=epochs, g_norm=norm)
    again = from_dict(Recipe, json.loads(json.dumps(to_dict(made))))
    assert again == made and again.key == made.key and not differences(made, again)


@pytest.mark.parametrize("name", leaves(Recipe))
def test_key_depends_on_every_field(name: str) -> None:
    plain = Recipe.of(steps=9, r1=1.0 if name == "penalty_every" else 0.0)
    changed = plain.replace(**{name: another(plain, name)})
    assert changed.key != plain.key
    assert from_dict(Recipe, json.loads(json.dumps(to_dict(changed)))) == changed


def test_key_ignores_fields_at_their_defaults() -> None:
    assert Recipe.of(steps=5).key == Recipe.of(steps=5, ema=0.0, z_dim=100).key


def test_sections_have_at_most_twelve_fields() -> None:
    sections: list[Any] = [Recipe, *(type(field.default) for field in dataclasses.fields(Recipe))]
    assert max(len(dataclasses.fields(section)) for section in sections) <= 12


def test_help_is_grouped_by_section(call: Call) -> None:
    _, said, _ = call("train", "basic-gan", "--help")
    groups = re.findall(r"(?m)^\W*(\w+) options", said)
    sections = [field.name for field in dataclasses.fields(Recipe)]
    assert groups == [*sections, "run"]
    assert said.index("data options") < said.index("--dataset") < said.index("network options")


# A new field is declared in one place and has a dotted name


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewerSection(DataSection):
    """The real images, and a field that was added after the keys were published."""

    augment: tuple[str, ...] = ()
    """augmentations"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Newer(Recipe):
    """A recipe with one more field."""

    data: NewerSection = NewerSection()


def test_a_new_field_leaves_every_published_key_as_it_is() -> None:
    for name, entry in RECIPES.items():
        assert from_dict(Newer, to_dict(entry.recipe)).key == KEYS[name]


def test_a_new_field_works_as_flag_file_grid_and_key(tmp_path: Path) -> None:
    flagged = tyro.cli(Newer, args=["--steps", "5", "--data.augment", "flip", "shift"])
    file = tmp_path / "flat.toml"
    file.write_text('steps = 5\n"data.augment" = ["flip", "shift"]\n')
    flat_file = from_dict(Newer, tomllib.loads(file.read_text()))
    sectioned = from_dict(Newer, {"training": {"steps": 5}, "data": {"augment": ["flip", "shift"]}})
    plain = Newer.of(steps=5)
    grid = [from_dict(Newer, flat(plain) | {"data.augment": a}) for a in ((), ("flip", "shift"))]
    assert flagged == flat_file == sectioned == grid[1] and flagged.data.augment == (
        "flip",
        "shift",
    )
    assert grid[0] == plain and len({recipe.key for recipe in grid}) == 2
    assert differences(plain, flagged) == {"data.augment": ([], ["flip", "shift"])}
    with pytest.raises(ValueError, match=r"unknown field 'data.augmnt' .did you mean 'data.augm"):
        from_dict(Newer, {"steps": 5, "data": {"augmnt": []}})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("lr_g", "0.1", "lr_g must be a number"),
        ("lr_g", float("nan"), "finite"),
        ("lr_g", -1, r"lr_g must lie in \[0, 10\]"),
        ("batch", 2.0, "batch must be a whole number"),
        ("batch", True, "batch must be a whole number"),
        ("beta1", 1.0, "beta1 must lie"),
        ("batch", 0, r"batch must lie in \[1"),
        ("d_dropout", 1.5, "d_dropout must lie"),
        ("g_norm", "layer", "g_norm must be one of batch, batch_all, none"),
        ("g_widths", 64, "g_widths must be a list"),
        ("g_widths", [64, "a"], "g_widths must be a whole number"),
        ("real_label", [1.0], "real_label must be a list of 2"),
        ("real_label", [1.0, 0.7], "low before high"),
        ("steps", None, "neither"),
        ("epochs", 1.0, "both"),
        ("shape", [1, 28], "channels .1 or 3., height and width"),
        ("shape", [2, 28, 28], "channels .1 or 3., height and width"),
        ("shape", [3, 64, 64, 1], "channels .1 or 3., height and width"),
        ("shape", [1, 0, 28], r"shape must lie in \[1"),
        ("shape", 28, "shape must be a list"),
        ("latent", "gauss", "latent must be one of normal, uniform, binary, got 'gauss'"),
        ("g_activation", "gelu", "g_activation must be one of relu, leaky_relu, sigmoid, tanh"),
        ("d_activation", "gelu", "d_activation must be one of relu, leaky_relu, sigmoid, tanh"),
        ("spectral", "g", "spectral must be one of none, d, both"),
        ("attention", [0], "attention must lie"),
        ("attention", 16, "attention must be a list"),
        ("init", "he", "init must be one of pytorch, dcgan, xavier"),
        ("opt_g", "lion", "opt_g must be one of adam, rmsprop, sgd"),
        ("opt_d", "lion", "opt_d must be one of adam, rmsprop, sgd"),
        ("schedule", "step", "schedule must be one of constant, linear, cosine"),
        ("same_fakes", 1, "same_fakes must be true or false"),
        ("gp", -1.0, "gp must lie"),
        ("penalty_every", 0, r"penalty_every must lie in \[1"),
        ("penalty_every", 8, "gp, dragan, r1 and r2, which are all 0; set one of them"),
        ("clip", -0.01, "clip must lie"),
        ("gp", 10.0, "gp needs the gradient .* d_norm batch mixes .*; set d_norm none"),
        ("dragan", 10.0, "dragan needs the gradient .*; set d_norm none"),
        ("r1", 10.0, "r1 needs the gradient .*; set d_norm none"),
        ("r2", 10.0, "r2 needs the gradient .*; set d_norm none"),
        ("lerning_rate", 1.0, "unknown field 'lerning_rate'"),
    ],
)
def test_bad_values_are_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_dict(Recipe, to_dict(MLP) | {field: value})


def test_unknown_field_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'd_dropout'"):
        from_dict(Recipe, {"d_dropuot": 0.1, "steps": 1})


def test_batch_norm_needs_two_samples() -> None:
    with pytest.raises(ValueError, match="batch norm needs batch >= 2"):
        MLP.replace(batch=1)


@pytest.mark.parametrize("spectral", ["d", "both"])
def test_one_bound_of_ds_weights_is_enough(spectral: Any) -> None:
    with pytest.raises(ValueError, match="set clip 0 or spectral none"):
        MLP.replace(clip=0.01, spectral=spectral)


@pytest.mark.parametrize("penalty", ["gp", "dragan", "r1", "r2"])
def test_penalties_go_with_norm_in_the_generator_alone(penalty: str) -> None:
    assert MLP.replace(d_norm="none", **{penalty: 1.0}).generator.norm == "batch"
    with pytest.raises(ValueError, match=f"{penalty} needs the gradient .* d_norm batch_all mixes"):
        MLP.replace(d_norm="batch_all", **{penalty: 1.0})


def test_length() -> None:
    assert MLP.replace(epochs=2.0).total_steps(10_000) == 2 * 10_000 / (16 * 2)
    assert Recipe.of(epochs=1.0, batch=64).total_steps(60_000) == 938  # the last one goes over
    assert Recipe.of(steps=7).total_steps(60_000) == 7
    longer = Recipe.of(epochs=3.0).replace(steps=9)
    assert longer.training.steps == 9 and longer.training.epochs is None


def test_no_training_of_no_length() -> None:
    with pytest.raises(ValueError, match="epochs must lie"):
        Recipe.of(epochs=0.0)


def test_differences_are_named() -> None:
    assert set(differences(MLP, CONV)) == {"model", "g_widths", "d_widths"}


def test_options_are_checked_too() -> None:
    assert from_dict(RunOptions, to_dict(RunOptions(data_root=Path("x")))).data_root == Path("x")
    with pytest.raises(ValueError, match="log_every"):
        RunOptions(log_every=0)


FILES = {
    "flat.json": '{"steps": 5, "g_widths": [8], "lr_d": 1e-3, "real_label": [0.7, 1]}',
    "sections.json": """{"training": {"steps": 5}, "generator": {"widths": [8]},
        "discriminator": {"lr": 1e-3}, "objective": {"real_label": [0.7, 1]}}""",
    "flat.toml": "steps = 5\ng_widths = [8]\nlr_d = 1e-3\nreal_label = [0.7, 1]",
    "sections.toml": """
        [generator]
        widths = [8]
        [discriminator]
        lr = 1e-3
        [training]
        steps = 5
        [objective]
        real_label = [0.7, 1]""",
    "both.toml": """
        steps = 5
        lr_d = 1e-3
        [generator]
        widths = [8]
        [objective]
        real_label = [0.7, 1]""",
}


@pytest.mark.parametrize("name", FILES)
def test_recipe_files_flat_or_in_sections(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(FILES[name])
    made = Recipe.of(steps=5, g_widths=(8,), lr_d=1e-3, real_label=(0.7, 1.0))
    assert named.read(str(file)) == made and named.read(str(file)).key == made.key


@pytest.mark.parametrize("name", RECIPES)
def test_every_named_recipe_in_sections_is_the_same(name: str) -> None:
    recipe = RECIPES[name].recipe
    sections = json.loads(json.dumps(dataclasses.asdict(recipe)))
    assert from_dict(Recipe, sections) == recipe == from_dict(Recipe, to_dict(recipe))


def test_a_field_given_twice_in_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="lr_g is given twice"):
        from_dict(Recipe, {"steps": 5, "lr_g": 0.1, "generator": {"lr": 0.1}})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"steps": 5', "\x00", '"steps"', "[" * 100_000])
def test_files_that_are_no_recipes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="is not a recipe"):
        named.read(str(file))


def test_missing_recipe_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read the recipe"):
        named.read(str(tmp_path / "none.toml"))
