"""Resume is exact, steps are functions of their position, and equal those of a baseline loop."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONV, FULL, MLP, PENALIZED, SAGAN, in_doubles
from torch import nn

from ganatomy.data import DATASETS, batch_indices, derive_seed
from ganatomy.gan.draws import CpuDraws
from ganatomy.gan.losses import LOSSES, Labels
from ganatomy.gan.state import State
from ganatomy.gan.step import steps, update_discriminator, update_ema, update_generator
from ganatomy.recipes.recipe import Recipe

DATA = DATASETS["mnist10k"].load(Path())
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
    "penalized": {
        "d_loss": 0.164780,
        "d_loss_real": 0.148258,
        "d_loss_fake": 0.016522,
        "d_penalty": 0.383171,
        "d_real": 0.419091,
        "d_fake": 0.183338,
        "g_loss": 0.321802,
        "d_fake_after": 0.202896,
        "g_grad": 0.949933,
    },
    "sagan": {
        "d_loss": 2.262433,
        "d_penalty": 2.634665,
        "g_loss": 1.870251,
        "g_grad": 22.333931,
    },
}
"""Logs of the sixth step; within rounding the same on every CPU. They change only on purpose."""

ALL = FULL | {"penalized": PENALIZED, "sagan": SAGAN}
PARTS = ["generator", "discriminator", "ema", "opt_g", "opt_d", "step"]


@pytest.fixture(params=["mlp", "dcgan", "penalized"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """A recipe with everything on, and between them everything that there is but attention."""
    return ALL[request.param]


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
    state = State.new(MLP.replace(ema=0.0), DATA.shape)
    assert state.ema is state.generator and "ema" not in state.state_dict()


def test_training_leaves_the_callers_randomness_alone(recipe: Recipe) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(recipe, 2)
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_decides_initial_weights(recipe: Recipe) -> None:
    one, again, other = (
        State.new(recipe.replace(seed=s), DATA.shape).state_dict() for s in (0, 0, 1)
    )
    assert same(one, again)
    assert not any(same(one[net], other[net]) for net in ("generator", "discriminator", "ema"))


def test_callers_randomness_does_not_reach_training(recipe: Recipe) -> None:
    torch.manual_seed(1)
    first = train(recipe, 2).state_dict()
    torch.manual_seed(2)
    assert same(train(recipe, 2).state_dict(), first)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_logs_what_it_can(loss: str) -> None:
    recipe = CONV.replace(loss=loss)
    if not LOSSES[loss].takes_labels:
        recipe = recipe.replace(real_label=(1, 1), fake_label=(0, 0))
    for logs in itertools.islice(steps(State.new(recipe, DATA.shape), recipe, DATA), 3):
        assert logs.keys() == {*GOLDEN["dcgan"], "d_loss_real", "d_loss_fake"}
        assert all(v.isfinite() and v.shape == () and not v.requires_grad for v in logs.values())
        assert torch.equal(logs["d_loss"], logs["d_loss_real"] + logs["d_loss_fake"])
        if LOSSES[loss].probabilities:
            assert all(0 < logs[k] < 1 for k in ("d_real", "d_fake", "d_fake_after"))
        if loss == "wasserstein":  # of scores there is nothing to log but the scores
            torch.testing.assert_close(logs["d_real"], -logs["d_loss_real"])
            torch.testing.assert_close(logs["d_fake"], logs["d_loss_fake"])
            torch.testing.assert_close(logs["d_fake_after"], -logs["g_loss"])


@pytest.mark.parametrize("name", GOLDEN)
def test_training_is_what_it_was(name: str) -> None:
    recipe = ALL[name]
    *_, logs = itertools.islice(steps(State.new(recipe, DATA.shape), recipe, DATA), 6)
    found = {k: logs[k].item() for k in GOLDEN[name]}
    assert found == pytest.approx(GOLDEN[name], rel=1e-4)


def test_nothing_is_differentiated_that_does_not_move(recipe: Recipe) -> None:
    state, loss = State.new(recipe, DATA.shape), LOSSES[recipe.objective.loss]
    x, z = DATA.batch(torch.arange(8)), torch.randn(8, recipe.network.z_dim)
    labels = Labels(torch.ones(8), torch.zeros(8))
    draws = CpuDraws(recipe, DATA, torch.device("cpu"))
    update_discriminator(state, recipe, loss, x, state.generator(z).detach(), labels, draws)
    assert all(p.grad is None for p in state.generator.parameters())
    assert all(p.grad is not None for p in state.discriminator.parameters())
    state.opt_d.zero_grad()
    update_generator(state, recipe, loss, x, state.generator(z))
    assert all(p.grad is None for p in state.discriminator.parameters())
    assert all(p.grad is not None for p in state.generator.parameters())


class Columns(nn.Module):
    """A discriminator that returns its logits as (N, width)."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.width = inner, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)[:, None].expand(-1, self.width)


@pytest.mark.parametrize("loss", LOSSES)
def test_logits_in_a_column_train_as_logits_in_a_row(loss: str) -> None:
    recipe = MLP.replace(loss=loss, real_label=(1, 1), fake_label=(0, 0), steps=2)
    row, column = State.new(recipe, DATA.shape), State.new(recipe, DATA.shape)
    column.discriminator = Columns(column.discriminator, 1)
    for a, b in zip(steps(row, recipe, DATA), steps(column, recipe, DATA), strict=True):
        assert same(a, b)


def test_other_logits_are_refused() -> None:
    state = State.new(MLP, DATA.shape)
    state.discriminator = Columns(state.discriminator, 2)
    with pytest.raises(ValueError, match=r"one logit per sample, of shape \(N,\) = \(16,\), got"):
        next(steps(state, MLP, DATA))


def test_steps_go_to_the_recipes_end() -> None:
    state = train(MLP, 10_000)
    assert state.step == MLP.training.steps and not list(steps(state, MLP, DATA))


def test_ema_averages_weights_and_copies_buffers() -> None:
    source, ema = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        source.weight.fill_(3.0)
    source.running_mean = torch.full((2,), 5.0)
    update_ema(ema, source, 0.75)
    assert ema.weight.tolist() == [1.5, 1.5] and ema.running_mean is not None
    assert ema.running_mean.tolist() == [5.0, 5.0]


def test_a_step_is_that_of_a_baseline_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights in float64 as a plain loop with Sigmoid, BCELoss and detach."""
    recipe = Recipe.of(
        dataset="mnist10k",
        g_widths=(16,),
        d_widths=(16,),
        steps=50,
        batch=10,
        real_label=(0.9, 0.9),
    )
    state = State.new(recipe, DATA.shape)
    for name in ("generator", "discriminator"):
        getattr(state, name).double()
    g, d = copy.deepcopy(state.generator), copy.deepcopy(state.discriminator)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.9, 0.999)) for n in (g, d))
    bce, real_label, fake_label, one = nn.BCELoss(), *torch.tensor([[0.9], [0.0], [1.0]]).double()

    in_doubles(monkeypatch)
    train(recipe, 50, state)

    for k in range(50):
        torch.manual_seed(derive_seed(recipe.training.seed, k))
        z_d = torch.randn(10, 100)
        torch.empty(20).uniform_()  # the labels' draws
        z_g = torch.randn(10, 100)
        x = DATA.batch(batch_indices(len(DATA), 10, recipe.training.seed, k))
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


def test_a_dcgan_step_is_that_of_pytorchs_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """D on real, D on fake, one update of both gradients; then G, on the same fakes."""
    recipe = Recipe.of(
        model="dcgan", z_dim=8, g_widths=(4,), d_widths=(4,), g_norm="batch", d_norm="batch",
        init="dcgan", same_fakes=True, batch=10, steps=50, beta1=0.5,
    )  # fmt: skip
    state = State.new(recipe, DATA.shape)
    up, down = nn.ConvTranspose2d, nn.Conv2d
    g = nn.Sequential(
        up(8, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        up(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        up(8, 4, 4, 2, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        up(4, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    d = nn.Sequential(
        down(1, 4, 4, 2, 1), nn.LeakyReLU(0.2),
        down(4, 8, 4, 2, 2, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
        down(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
        down(16, 1, 4, 1, 0), nn.Sigmoid(),
    )  # fmt: skip
    pairs = [(state.generator, g), (state.discriminator, d)]
    for ours, theirs in pairs:
        ours.double(), theirs.double()
        old = list(ours.state_dict().values())
        theirs.load_state_dict(dict(zip(theirs.state_dict(), old, strict=True)))
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (g, d))
    bce, real_label, fake_label = nn.BCELoss(), torch.ones(10).double(), torch.zeros(10).double()
    in_doubles(monkeypatch)
    logs = list(steps(state, recipe, DATA))

    for k in range(50):
        torch.manual_seed(derive_seed(recipe.training.seed, k))
        fake = g(torch.randn(10, 8, 1, 1))
        d.zero_grad()
        real_output = d(DATA.batch(batch_indices(len(DATA), 10, recipe.training.seed, k))).view(-1)
        bce(real_output, real_label).backward()
        fake_output = d(fake.detach()).view(-1)
        bce(fake_output, fake_label).backward()
        opt_d.step()
        g.zero_grad()
        output = d(fake).view(-1)
        bce(output, real_label).backward()
        opt_g.step()
        shown = real_output.mean(), fake_output.mean(), output.mean()
        torch.testing.assert_close(
            [logs[k][n] for n in ("d_real", "d_fake", "d_fake_after")], [s.detach() for s in shown]
        )

    for ours, theirs in pairs:  # batch norm's statistics as well
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
