"""What each field does to a step: priors, schedules, optimizers, rates, penalties, clipping."""

import copy
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import FULL, MLP, PENALIZED, another, in_doubles
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganatomy.data import DATASETS
from ganatomy.gan.draws import CpuDraws
from ganatomy.gan.losses import LOSSES, Labels, interpolate_points, perturb_points
from ganatomy.gan.schedules import SCHEDULES
from ganatomy.gan.state import State
from ganatomy.gan.step import set_rates, steps, update_discriminator, update_generator
from ganatomy.models import apply_spectral_norm
from ganatomy.recipes.recipe import Optimizer, Recipe
from ganatomy.runs.sampling import generate
from ganatomy.validation import leaves

CPU = torch.device("cpu")

DATA = DATASETS["mnist10k"].load(Path())
PENALTIES = ("gp", "dragan", "r1", "r2")


def train(state: State, recipe: Recipe, n: int) -> State:
    for _ in itertools.islice(steps(state, recipe, DATA), n):
        pass
    return state


def values(net: nn.Module) -> list[Tensor]:
    return [value.clone() for value in net.state_dict().values()]


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


CHANGES: dict[str, Any] = {
    "loss": "minimax",
    "attention": (8,),
    "real_label": (1.0, 1.0),
    "fake_label": (0.0, 0.0),
    "g_norm": "none",
    "d_norm": "none",
    "g_activation": "sigmoid",
    "d_activation": "sigmoid",
}
"""Other values than the usual ones, for fields of which few have an effect."""

NEEDS: dict[str, dict[str, Any]] = {name: {"d_norm": "none"} for name in PENALTIES}
NEEDS["penalty_every"] = {"d_norm": "none", "r1": 1.0}
"""What else a change needs."""

ELSEWHERE = {"dataset", "shape", "data.convert", "model", "epochs", "steps"}
"""Fields whose effect other tests show."""


@pytest.mark.parametrize("base", ["mlp", "dcgan"])
@pytest.mark.parametrize("field", [name for name in leaves(Recipe) if name not in ELSEWHERE])
def test_every_field_has_an_effect(base: str, field: str) -> None:
    recipe = FULL[base].replace(steps=3, **NEEDS.get(field, {}))
    changed = recipe.replace(**{field: CHANGES.get(field, another(recipe, field))})
    if field == "attention" and base == "mlp":
        pytest.skip("it has no feature maps")
    made = [
        generate(
            train(State.new(r, DATA.shape), r, 2).ema, 2, recipe.replace(z_dim=r.network.z_dim), 0
        )
        for r in (recipe, changed)
    ]
    assert not torch.equal(*made)


@pytest.mark.parametrize("latent", ["normal", "uniform", "binary"])
@pytest.mark.parametrize("same_fakes", [True, False])
def test_training_draws_from_the_recipes_prior(latent: Any, same_fakes: bool) -> None:
    recipe, seen = MLP.replace(latent=latent, same_fakes=same_fakes), []
    state = State.new(recipe, DATA.shape)
    state.generator.register_forward_hook(lambda _, given, made: seen.append(given[0]))
    train(state, recipe, 2)
    assert len(seen) == 2 * (2 + 2 - same_fakes)  # with same_fakes, one update draws none
    z = torch.cat(seen).flatten()
    assert len(z.unique()) == {"binary": 2}.get(latent, len(z))
    assert (z.abs().max() <= 1) == (latent != "normal") and abs(z.mean()) < 0.2


@given(st.floats(0, 0.999), st.floats(0, 0.999))
def test_schedules_fall_from_1_towards_0(one: float, other: float) -> None:
    for schedule in SCHEDULES.values():
        late, early = schedule.factor(max(one, other)), schedule.factor(min(one, other))
        assert 0 < late <= early <= 1


def test_schedules_closed_forms() -> None:
    at = (0, 0.25, 0.5, 0.75)
    expected = {
        "constant": [1, 1, 1, 1],
        "linear": [1, 0.75, 0.5, 0.25],
        "cosine": [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2],
    }
    assert expected.keys() == SCHEDULES.keys()
    for name, factors in expected.items():
        assert [SCHEDULES[name].factor(done) for done in at] == pytest.approx(factors)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_scheduled_step_is_a_step_at_that_rate(schedule: Any) -> None:
    recipe = MLP.replace(schedule=schedule, steps=8, lr_g=1e-3, lr_d=4e-3)
    state = train(State.new(recipe, DATA.shape), recipe, 5)
    factor = SCHEDULES[schedule].factor(5 / 8)
    steady = recipe.replace(schedule="constant", lr_g=1e-3 * factor, lr_d=4e-3 * factor, steps=8)
    other = State.new(steady, DATA.shape)
    other.load_state_dict(copy.deepcopy(state.state_dict()))
    train(other, steady, 1)
    train(state, recipe, 1)
    assert same(values(other.discriminator), values(state.discriminator))
    assert same(values(other.generator), values(state.generator))
    rates = [opt.param_groups[0]["lr"] for opt in (state.opt_g, state.opt_d)]
    assert rates == pytest.approx([1e-3 * factor, 4e-3 * factor])
    set_rates(state, recipe, 0.0)
    assert [opt.param_groups[0]["lr"] for opt in (state.opt_g, state.opt_d)] == [1e-3, 4e-3]


REFERENCES: dict[str, Callable[[list[nn.Parameter], float], torch.optim.Optimizer]] = {
    "adam": lambda weights, rate: torch.optim.Adam(weights, rate, (0.4, 0.6)),
    "rmsprop": lambda weights, rate: torch.optim.RMSprop(weights, rate),
    "sgd": lambda weights, rate: torch.optim.SGD(weights, rate),
}


@pytest.mark.parametrize("kind", get_args(Optimizer))
@pytest.mark.parametrize("player", ["g", "d"])
def test_each_network_moves_by_its_own_optimizer_and_rate(kind: str, player: str) -> None:
    other = "rmsprop" if kind == "sgd" else "sgd"
    kinds: dict[str, Any] = {f"opt_{p}": kind if p == player else other for p in "gd"}
    recipe = MLP.replace(lr_g=1e-3, lr_d=3e-3, beta1=0.4, beta2=0.6, **kinds)
    state = State.new(recipe, DATA.shape)
    net = state.generator if player == "g" else state.discriminator
    expected = copy.deepcopy(net)
    reference = REFERENCES[kind](list(expected.parameters()), 1e-3 if player == "g" else 3e-3)
    for k in range(3):
        step_once(state, recipe, k)
        for ours, theirs in zip(net.parameters(), expected.parameters(), strict=True):
            theirs.grad = ours.grad
        reference.step()
    torch.testing.assert_close(list(net.parameters()), list(expected.parameters()))


def step_once(state: State, recipe: Recipe, seed: int) -> dict[str, Tensor]:
    """Both updates, on the same samples for the same seed."""
    torch.manual_seed(seed)
    loss, x = LOSSES[recipe.objective.loss], DATA.batch(torch.arange(8))
    fake = state.generator(torch.randn(8, recipe.network.z_dim))
    labels = Labels(torch.ones(8), torch.zeros(8))
    draws = CpuDraws(recipe, DATA, CPU)
    logs = update_discriminator(state, recipe, loss, x, fake.detach(), labels, draws)
    return logs | update_generator(state, recipe, loss, x, fake)


@pytest.mark.parametrize("still", ["lr_g", "lr_d"])
def test_there_are_two_learning_rates(still: str) -> None:
    rates: dict[str, Any] = {still: 0.0}
    recipe = MLP.replace(**rates)
    state = State.new(recipe, DATA.shape)
    networks = (state.generator, state.discriminator)
    before = [[p.clone() for p in net.parameters()] for net in networks]
    train(state, recipe, 2)
    moved = [not same(b, list(n.parameters())) for b, n in zip(before, networks, strict=True)]
    assert moved == [still == "lr_d", still == "lr_g"]


LINEAR = MLP.replace(d_widths=(), d_norm="none", d_dropout=0.0)
"""Its discriminator is a linear critic: the gradient is its weight, wherever one looks."""


@pytest.mark.parametrize(
    "weights", [{name: 0.7} for name in PENALTIES] + [dict.fromkeys(PENALTIES, 3.0)], ids=str
)
def test_penalties_of_a_step_are_weighted_and_shown(weights: dict[str, Any]) -> None:
    recipe = LINEAR.replace(**weights)
    state = State.new(recipe, DATA.shape)
    norm = next(state.discriminator.parameters()).norm().item()
    to_one = sum(weights.get(name, 0) for name in ("gp", "dragan")) * (norm - 1) ** 2
    to_zero = sum(weights.get(name, 0) for name in ("r1", "r2")) * norm**2 / 2
    logs, plain = step_once(state, recipe, 0), step_once(State.new(LINEAR, DATA.shape), LINEAR, 0)
    assert logs["d_penalty"].item() == pytest.approx(to_one + to_zero)
    assert "d_penalty" not in plain
    for name in ("d_loss", "d_loss_real", "d_loss_fake"):  # which it is no part of
        torch.testing.assert_close(logs[name], plain[name])


@pytest.mark.parametrize("every", [1, 3])
def test_lazy_penalties_come_every_so_many_updates_and_weigh_as_much_more(every: int) -> None:
    recipe = LINEAR.replace(r1=0.7, penalty_every=every, d_steps=2, steps=9, lr_d=0.0)
    state = State.new(recipe, DATA.shape)
    norm = next(state.discriminator.parameters()).norm().item()
    for step, logs in enumerate(steps(state, recipe, DATA)):
        updates = [2 * step + 1, 2 * step + 2]  # a step shows what its last update with one found
        assert ("d_penalty" in logs) == any(update % every == 0 for update in updates)
        if "d_penalty" in logs:
            assert logs["d_penalty"].item() == pytest.approx(every * 0.7 * norm**2 / 2)


def test_one_pass_of_d_is_two_where_samples_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.of(dataset="mnist10k", model="dcgan", g_widths=(4,), d_widths=(4,), steps=4)
    passes = []
    for mixes in (False, True):
        state, seen = State.new(recipe, DATA.shape), list[int]()
        state.generator.double(), state.discriminator.double()
        state.discriminator.register_forward_hook(lambda _, x, y, s=seen: s.append(len(y)))
        with monkeypatch.context() as patch:
            patch.setattr("ganatomy.gan.step._mixes", lambda _, mixes=mixes: mixes)
            in_doubles(patch)
            train(state, recipe, 4)
        passes.append((values(state.discriminator), seen))
    (once, of_one), (twice, of_two) = passes
    torch.testing.assert_close(once, twice, rtol=1e-9, atol=1e-12)
    assert of_one == [128, 64] * 4 and of_two == [64, 64, 64] * 4


@pytest.mark.parametrize("name", ["mlp", "penalized"])
def test_bf16_leaves_everything_but_products_in_fp32(name: str) -> None:
    recipe = {"mlp": FULL["mlp"], "penalized": PENALIZED}[name]
    full, half = (State.new(recipe, DATA.shape) for _ in range(2))
    for a, b in zip(steps(full, recipe, DATA), steps(half, recipe, DATA, "bf16"), strict=True):
        assert a.keys() == b.keys() and all(v.dtype == torch.float32 for v in b.values())
        assert not all(torch.equal(a[k], b[k]) for k in a)
        if full.step == 1:  # later they drift apart
            assert {k: v.item() for k, v in b.items()} == pytest.approx(
                {k: v.item() for k, v in a.items()}, rel=0.05
            )
    slots = [slot for opt in (half.opt_g, half.opt_d) for slot in opt.state.values()]
    kept = [*values(half.generator), *values(half.discriminator), *values(half.ema)]
    kept += [v for slot in slots for v in slot.values() if torch.is_tensor(v)]
    assert {v.dtype for v in kept if v.is_floating_point()} == {torch.float32}


def test_bf16_computes_with_the_weights_of_now() -> None:
    recipe = MLP.replace(
        d_norm="none", d_dropout=0.0, g_dropout=0.0, d_steps=1, g_steps=1, lr_d=0.05
    )
    found = [next(steps(State.new(recipe, DATA.shape), recipe, DATA, p)) for p in ("fp32", "bf16")]
    before, after = ([logs[name].item() for logs in found] for name in ("d_fake", "d_fake_after"))
    assert after[1] == pytest.approx(after[0], rel=0.05) and after[1] < 0.5 * before[1]


def test_bf16_normalizes_spectra_in_fp32() -> None:
    layer = nn.Linear(6, 6)
    apply_spectral_norm(layer)
    expected = copy.deepcopy(layer).weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, expected)


def test_a_generator_is_compared_with_real_samples_where_its_loss_compares() -> None:
    state, loss = State.new(LINEAR, DATA.shape), LOSSES["relativistic"]
    real, fake = DATA.batch(torch.arange(8)), state.generator(torch.randn(8, LINEAR.network.z_dim))
    expected = softplus(state.discriminator(real) - state.discriminator(fake)).mean().detach()
    found = update_generator(state, LINEAR, loss, real, fake)["g_loss"]
    torch.testing.assert_close(found, expected)


class Bowl(nn.Module):
    """Half the squared norm times a weight: the gradient at a sample is that many samples."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x.flatten(1).square().sum(1) / 2


@pytest.mark.parametrize("name", PENALTIES)
def test_each_penalty_looks_where_it_should_and_moves_d(name: str) -> None:
    weights: dict[str, Any] = {name: 1.0}
    recipe, bowl = LINEAR.replace(**weights), Bowl()
    state = State.new(recipe, DATA.shape)
    state.discriminator, state.opt_d = bowl, torch.optim.SGD(bowl.parameters(), 1e-3)
    rng = torch.Generator().manual_seed(5)
    real, fake = (torch.randn(6, 2, 3, 3, generator=rng) * size for size in (0.3, 2))
    gap = (fake.square().sum() - real.square().sum()) / 2 / 6
    labels = Labels(torch.ones(6), torch.zeros(6))
    torch.manual_seed(7)
    draws, loss = CpuDraws(recipe, DATA, CPU), LOSSES["wasserstein"]
    logs = update_discriminator(state, recipe, loss, real.clone(), fake.clone(), labels, draws)
    torch.manual_seed(7)
    if name == "dragan":
        at = perturb_points(real, torch.rand(real.shape), torch.rand(6))
    else:
        at = {"r1": real, "r2": fake, "gp": interpolate_points(real, fake, torch.rand(6))}[name]
    w = torch.ones((), requires_grad=True)
    norms = w * at.flatten(1).norm(dim=1)
    r = name in ("r1", "r2")
    penalty = norms.square().mean() / 2 if r else (norms - 1).square().mean()
    torch.testing.assert_close(logs["d_penalty"], penalty.detach())
    (slope,) = torch.autograd.grad(w * gap + penalty, w)
    torch.testing.assert_close(bowl.weight.detach(), 1 - 1e-3 * slope)


def test_clipping_bounds_every_weight_of_d_and_none_of_g() -> None:
    free, clipped = MLP.replace(lr_d=0.1), MLP.replace(lr_d=0.1, clip=0.01)
    x, labels = DATA.batch(torch.arange(8)), Labels(torch.ones(8), torch.zeros(8))
    states = {recipe: State.new(recipe, DATA.shape) for recipe in (free, clipped)}
    for recipe, state in states.items():
        torch.manual_seed(0)
        update_discriminator(state, recipe, LOSSES[recipe.objective.loss], x, -x, labels, None)
    (one, bounded) = (list(state.discriminator.parameters()) for state in states.values())
    assert all(weight.abs().max() > 0.01 for weight in one)
    assert same(bounded, [weight.clamp(-0.01, 0.01) for weight in one])
    assert same(*(values(state.generator) for state in states.values()))
    state = train(states[clipped], clipped, 2)
    assert all(weight.abs().max() <= 0.01 for weight in state.discriminator.parameters())
    assert all(w.abs().max() > 0.01 for w in state.generator.parameters() if w.ndim > 1)
