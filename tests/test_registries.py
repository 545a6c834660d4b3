"""Every part that is registered builds, trains and resumes, and does to a training what it says."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import CONV, MLP, SAGAN, shape_of
from torch import Tensor, nn
from torch.nn import functional as F

from ganatomy.data import DATASETS, Samples
from ganatomy.gan.losses import LOSSES
from ganatomy.gan.schedules import SCHEDULES
from ganatomy.gan.state import State, check_recipe
from ganatomy.gan.step import steps
from ganatomy.models import initialize
from ganatomy.models.attention import SelfAttention
from ganatomy.models.net import ACTIVATIONS
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Activation, Recipe
from ganatomy.runs.sampling import generate
from ganatomy.training.loop import fit
from ganatomy.validation import flat, leaves

DATA = DATASETS["mnist10k"].load(Path())
WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def train(state: State, recipe: Recipe, data: Samples, n: int) -> State:
    for logs in itertools.islice(steps(state, recipe, data), n):
        assert all(value.isfinite() for value in logs.values())
    return state


def values(state: State) -> list[Tensor]:
    """Everything in both networks and the averaged one, copied."""
    networks = (state.generator, state.discriminator, state.ema)
    return [v.clone() for net in networks for v in net.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_every_named_recipe_trains_resumes_and_samples(name: str) -> None:
    full = RECIPES[name].recipe
    small = {w: (4,) * len(flat(full)[w]) for w in ("g_widths", "d_widths")}
    recipe = full.replace(steps=2, batch=4, z_dim=min(full.network.z_dim, 20), **small)
    shape = shape_of(recipe)
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (12, *shape), dtype=torch.uint8, generator=rng)
    data = Samples(pixels, torch.zeros(12, dtype=torch.int64))

    state = train(State.new(recipe, shape), recipe, data, 1)
    half, before = copy.deepcopy(state.state_dict()), values(state)
    train(state, recipe, data, 2)
    assert state.step == 2 and not same(values(state), before)
    again = State.new(recipe, shape)
    again.load_state_dict(half)
    assert same(values(train(again, recipe, data, 2)), values(state))
    made = generate(state.ema, 3, recipe, 0)
    assert made.shape == (3, *shape) and made.abs().max() <= 1 and made.std() > 0


def test_a_sagan_with_everything_resumes_exactly() -> None:
    whole = train(State.new(SAGAN, DATA.shape), SAGAN, DATA, 3)
    half = train(State.new(SAGAN, DATA.shape), SAGAN, DATA, 2).state_dict()
    again = State.new(SAGAN, DATA.shape)
    again.load_state_dict(copy.deepcopy(half))
    assert same(values(train(again, SAGAN, DATA, 1)), values(whole))


def test_recipes_offer_every_part_that_there_is() -> None:
    assert get_args(Activation) == tuple(ACTIVATIONS)
    assert get_args(leaves(Recipe)["schedule"].kind) == tuple(SCHEDULES)


# Networks' parts


def test_attention_is_pytorchs() -> None:
    attention = SelfAttention(16)
    nn.init.constant_(attention.gate, 0.7)
    x = torch.randn(2, 16, 3, 5)
    q, k, v = (part(x).flatten(2).mT for part in (attention.query, attention.key, attention.value))
    assert q.shape == (2, 15, 2)  # an eighth of the channels
    attended = F.scaled_dot_product_attention(q, k, v, scale=1.0).mT.reshape(2, 2, 3, 5)
    torch.testing.assert_close(attention(x), x + 0.7 * attention.out(attended))


def test_attention_mixes_places_by_what_they_hold_and_weights_sum_to_1() -> None:
    attention = SelfAttention(8)
    nn.init.ones_(attention.gate)
    x, order = torch.randn(2, 8, 4, 4), torch.randperm(16)

    def reordered(maps: Tensor) -> Tensor:
        return maps.flatten(2)[:, :, order].view(2, 8, 4, 4)

    torch.testing.assert_close(attention(reordered(x)), reordered(attention(x)))
    alike = torch.randn(2, 8, 1, 1).expand(2, 8, 4, 4)  # what all hold, each attends to once
    torch.testing.assert_close(attention(alike), alike + attention.out(attention.value(alike)))


def weighted(net: nn.Module) -> list[Any]:
    return [m for m in net.modules() if isinstance(m, WEIGHTED)]


def largest(layer: Any) -> float:
    """The largest singular value of a layer's weights, each row what makes one output."""
    rows = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    return torch.linalg.matrix_norm(rows.flatten(1), 2).item()


@pytest.mark.parametrize("model", ["mlp", "dcgan", "sagan"])
@pytest.mark.parametrize("spectral", ["d", "both"])
@torch.no_grad()
def test_spectral_norm_is_1_in_the_networks_that_have_it(model: str, spectral: Any) -> None:
    recipe = Recipe.of(steps=1, z_dim=6, model=model, g_widths=(8,), d_widths=(8,), init="xavier")
    plain, normed = (State.new(r, (1, 28, 28)) for r in (recipe, recipe.replace(spectral=spectral)))
    for _ in range(40):
        normed.discriminator(normed.generator(torch.randn(4, 6)))
    for layer in weighted(normed.discriminator):
        assert largest(layer) == pytest.approx(1, abs=0.02)
    if spectral == "both":
        assert all(largest(m) == pytest.approx(1, abs=0.02) for m in weighted(normed.generator))
    else:
        ours, theirs = normed.generator.state_dict(), plain.generator.state_dict()
        assert ours.keys() == theirs.keys() and same([*ours.values()], [*theirs.values()])
    for layer in weighted(normed.discriminator):
        ratio = layer.weight / layer.parametrizations.weight.original
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))  # but for its size it is


@pytest.mark.parametrize("model", ["mlp", "dcgan", "sagan"])
@pytest.mark.parametrize("kind", ["pytorch", "dcgan", "xavier"])
def test_initial_weights(model: str, kind: Any) -> None:
    width = {"mlp": (300,), "dcgan": (24,), "sagan": (24,)}[model]
    recipe = Recipe.of(steps=1, model=model, g_widths=width, d_widths=width, g_norm="batch")
    plain, state = (State.new(r, (1, 28, 28)) for r in (recipe, recipe.replace(init=kind)))
    assert same(values(plain), values(state)) == (kind == "pytorch")
    for net in (state.generator, state.discriminator) if kind != "pytorch" else ():
        for layer in weighted(net):
            w = layer.weight.detach()
            assert layer.bias is None or (layer.bias == 0).all()
            if w.numel() < 2000:
                continue
            assert w.mean().item() == pytest.approx(0, abs=4 * w.std().item() / w.numel() ** 0.5)
            if kind == "dcgan":
                assert w.std().item() == pytest.approx(0.02, rel=0.06)
                assert w.abs().max() > 0.05  # normal, not uniform
            else:
                bound = math.sqrt(6 / ((w.shape[0] + w.shape[1]) * w[0, 0].numel()))
                assert 0.98 * bound < w.abs().max() <= bound
                assert w.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.06)


@pytest.mark.parametrize("kind", ["pytorch", "dcgan", "xavier"])
def test_initial_batch_norm(kind: Any) -> None:
    norm = nn.BatchNorm2d(3000)
    initialize(nn.Sequential(norm), kind)
    assert (norm.bias == 0).all() and norm.weight.mean().item() == pytest.approx(1, abs=0.002)
    assert norm.weight.std().item() == pytest.approx(0.02 * (kind == "dcgan"), rel=0.1)


# Parts that do not go together are refused before anything is trained


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.takes_labels])
@pytest.mark.parametrize("field", ["real_label", "fake_label"])
def test_label_ranges_need_a_loss_with_labels(loss: str, field: str) -> None:
    hard = MLP.replace(real_label=(1, 1), fake_label=(0, 0), loss=loss)
    assert check_recipe(hard) is LOSSES[loss]
    soft: dict[str, Any] = {field: (0.1, 0.9)}
    with pytest.raises(ValueError, match=f"the loss {loss} ignores .*; .* or use .*least_squares"):
        check_recipe(hard.replace(**soft))


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.takes_labels])
def test_label_ranges_go_with_losses_that_have_labels(loss: str) -> None:
    assert check_recipe(MLP.replace(loss=loss)) is LOSSES[loss]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (MLP.replace(loss="hinge"), "the loss hinge ignores real_label"),
        (MLP.replace(loss="hing"), "unknown loss 'hing' .did you mean 'hinge'"),
        (MLP.replace(model="sagn"), "unknown model 'sagn' .did you mean 'sagan'"),
        (
            MLP.replace(attention=(14,)),
            "the model mlp does not take attention; set attention .., or use dcgan, sagan",
        ),
        (
            CONV.replace(attention=(16,)),
            "attention 16: dcgan has no feature maps .* it has 14, 8, 4",
        ),
        (CONV.replace(g_widths=(4, 4)), "dcgan takes one number in g_widths, of channels, got 2"),
        (SAGAN.replace(d_widths=()), "sagan takes one number in d_widths, of channels, got 0"),
        (CONV.replace(shape=(1, 20, 20)), r"dcgan makes square images of 28, .* set shape"),
        (SAGAN.replace(shape=(1, 50, 50)), r"sagan makes square images .*; set shape"),
        (SAGAN.replace(shape=(1, 32, 28)), r"sagan makes square images .*; set shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_go_together_leaves_no_run(recipe: Recipe, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
