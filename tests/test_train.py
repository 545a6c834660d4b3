"""Resume is exact, steps are functions of their position, and the mathematics is the textbook's."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONV, MLP
from torch import nn

from ganatomy.data import DATASETS, batch_indices, mix
from ganatomy.losses import LOSSES, Labels
from ganatomy.recipe import Recipe
from ganatomy.train import State, steps, update_discriminator, update_ema, update_generator

DATA = DATASETS["mnist10k"][1](Path())
GOLDEN = {
    "mlp": {
        "d_loss": 1.368484,
        "d_real": 0.534926,
        "d_fake": 0.481822,
        "g_loss": 0.663847,
        "d_fake_after": 0.525027,
        "g_grad": 0.625823,
    },
    "dcgan": {
        "d_loss": 1.385379,
        "d_real": 0.604944,
        "d_fake": 0.569079,
        "g_loss": 0.627223,
        "d_fake_after": 0.544236,
        "g_grad": 3.453600,
    },
}
"""Logs of the sixth step; within rounding the same on every CPU. They change only on purpose."""

PARTS = ["generator", "discriminator", "ema", "opt_g", "opt_d", "step"]


def train(recipe: Recipe, upto: int, state: State | None = None) -> State:
    state = state or State.new(recipe, DATA.shape)
    for _ in itertools.islice(steps(state, recipe, DATA), upto - state.step):
        pass
    return state


def same(a: Any, b: Any) -> bool:
    """Whether two nests of state are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def restored(recipe: Recipe, saved: dict[str, Any], without: str | None = None) -> State:
    """A new state that is given what was saved, except perhaps one part."""
    state = State.new(recipe, DATA.shape)
    fresh = copy.deepcopy(state.state_dict())
    state.load_state_dict(saved | ({without: fresh[without]} if without else {}))
    return state


def test_resume_is_exact(recipe: Recipe) -> None:
    whole = train(recipe, 9).state_dict()
    half = copy.deepcopy(train(recipe, 4).state_dict())
    assert same(train(recipe, 9, restored(recipe, half)).state_dict(), whole)


@pytest.mark.parametrize("part", PARTS)
def test_resume_needs_every_part(recipe: Recipe, part: str) -> None:
    whole = train(recipe, 9).state_dict()
    half = copy.deepcopy(train(recipe, 4).state_dict())
    assert {*PARTS, "shape"} == half.keys()
    assert not same(train(recipe, 9, restored(recipe, half, without=part)).state_dict(), whole)


def test_state_without_averaging_has_no_second_generator() -> None:
    state = State.new(MLP.but(ema=0.0), DATA.shape)
    assert state.ema is state.generator and "ema" not in state.state_dict()


def test_training_leaves_the_callers_randomness_alone(recipe: Recipe) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(recipe, 2)
    assert torch.equal(torch.rand(3), expected)


def test_callers_randomness_does_not_reach_training(recipe: Recipe) -> None:
    torch.manual_seed(1)
    first = train(recipe, 2).state_dict()
    torch.manual_seed(2)
    assert same(train(recipe, 2).state_dict(), first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"d_dropout": 0.0},
        {"g_dropout": 0.0},
        {"real_label": (1.0, 1.0)},
        {"fake_label": (0.0, 0.0)},
        {"d_steps": 1},
        {"g_steps": 1},
        {"loss": "minimax"},
        {"beta1": 0.5},
        {"beta2": 0.9},
        {"lr_g": 1e-3},
        {"lr_d": 1e-3},
        {"g_norm": "none"},
        {"d_norm": "none"},
        {"batch": 8},
        {"ema": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_has_an_effect(recipe: Recipe, change: dict[str, Any]) -> None:
    before, after = (train(r, 2).state_dict() for r in (recipe, recipe.but(**change)))
    assert not same(before, after)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_logs_probabilities(loss: str) -> None:
    recipe = CONV.but(loss=loss)
    for logs in itertools.islice(steps(State.new(recipe, DATA.shape), recipe, DATA), 3):
        assert logs.keys() == {"d_loss", "g_loss", "d_real", "d_fake", "d_fake_after", "g_grad"}
        assert all(v.isfinite() and v.shape == () for v in logs.values())
        assert all(0 < logs[k] < 1 for k in ("d_real", "d_fake", "d_fake_after"))


def test_training_is_what_it_was(recipe: Recipe) -> None:
    *_, logs = itertools.islice(steps(State.new(recipe, DATA.shape), recipe, DATA), 6)
    assert {k: v.item() for k, v in logs.items()} == pytest.approx(GOLDEN[recipe.model], rel=1e-4)


def test_nothing_is_differentiated_that_does_not_move(recipe: Recipe) -> None:
    state, loss = State.new(recipe, DATA.shape), LOSSES[recipe.loss]
    x, z = DATA.take(torch.arange(8)), torch.randn(8, recipe.z_dim)
    labels = Labels(torch.ones(8), torch.zeros(8))
    update_discriminator(state, loss.d, x, z, labels)
    assert all(p.grad is None for p in state.generator.parameters())
    assert all(p.grad is not None for p in state.discriminator.parameters())
    state.opt_d.zero_grad()
    update_generator(state, loss.g, x, z)
    assert all(p.grad is None for p in state.discriminator.parameters())
    assert all(p.grad is not None for p in state.generator.parameters())


def test_steps_go_to_the_recipes_end() -> None:
    state = train(MLP, 10_000)
    assert state.step == MLP.steps and not list(steps(state, MLP, DATA))


def test_ema_averages_weights_and_copies_buffers() -> None:
    source, ema = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        source.weight.fill_(3.0)
    source.running_mean = torch.full((2,), 5.0)
    update_ema(ema, source, 0.75)
    assert ema.weight.tolist() == [1.5, 1.5] and ema.running_mean is not None
    assert ema.running_mean.tolist() == [5.0, 5.0]


def test_a_step_is_the_textbooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights in float64 as a plain loop with Sigmoid, BCELoss and detach."""
    recipe = Recipe(
        dataset="mnist10k", g_widths=(16,), d_widths=(16,), steps=5, batch=10, real_label=(0.9, 0.9)
    )
    state = State.new(recipe, DATA.shape)
    for name in ("generator", "discriminator"):
        getattr(state, name).double()
    g, d = copy.deepcopy(state.generator), copy.deepcopy(state.discriminator)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.9, 0.999)) for n in (g, d))
    bce, real_label, fake_label, one = nn.BCELoss(), *torch.tensor([[0.9], [0.0], [1.0]]).double()

    randn, take = torch.randn, type(DATA).take
    monkeypatch.setattr(torch, "randn", lambda *size: randn(*size).double())
    monkeypatch.setattr(type(DATA), "take", lambda *given: take(*given).double())
    train(recipe, 5, state)

    for k in range(5):
        torch.manual_seed(mix(recipe.seed, k))
        z_d = torch.randn(10, 100)
        torch.empty(20).uniform_()  # the labels' draws
        z_g = torch.randn(10, 100)
        x = DATA.take(batch_indices(len(DATA), 10, recipe.seed, k))
        fake = g(z_d)
        loss = bce(d(x).sigmoid(), real_label.expand(10))
        loss = loss + bce(d(fake.detach()).sigmoid(), fake_label.expand(10))
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
        loss = bce(d(g(z_g)).sigmoid(), one.expand(10))
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()

    for ours, theirs in ((state.generator, g), (state.discriminator, d)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
