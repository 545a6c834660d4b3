"""Captured steps, against eager ones: on a CPU without the graph, on a GPU with it."""

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FULL, MLP, PENALIZED
from torch import Tensor

from ganatomy.data import DATASETS, Samples
from ganatomy.gan import captured, ring
from ganatomy.gan.machine import numerics
from ganatomy.gan.state import CHECKED, State
from ganatomy.gan.step import latch, steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe

DATA = DATASETS["mnist10k"].load(Path())
STILL: dict[str, Any] = {"g_dropout": 0.0, "d_dropout": 0.0}  # on a CPU, masks need its generator
PLAIN = MLP.replace(**STILL, d_norm="none", d_steps=1, g_steps=1, ema=0.0)
NAMES = [n for n, r in RECIPES.items() if r.recipe.data.shape in (None, (1, 28, 28))]
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "batch norm": {"d_norm": "batch"},
    "two updates of D": {"d_steps": 2},
    "two updates of G": {"g_steps": 2, "same_fakes": True},
    "own fakes for G": {"same_fakes": False},
    "real logits for G": {
        "loss": "relativistic",
        "real_label": (1.0, 1.0),
        "fake_label": (0.0, 0.0),
    },
    "averages": {"ema": 0.9},
    "rates that fall": {"schedule": "linear"},
    "ranges": {"real_label": (0.7, 1.0), "fake_label": (0.0, 0.3)},
    "uniform": {"latent": "uniform"},
    "binary": {"latent": "binary"},
    "spectral norm": {"spectral": "d"},
    "clipping": {"clip": 0.01, "opt_d": "rmsprop", "opt_g": "sgd"},
    "gp": {"gp": 1.0, "d_steps": 3},
    "dragan": {"dragan": 1.0},
    "lazy r1": {"r1": 1.0, "penalty_every": 3},
    "lazy r2 in some updates": {"r2": 1.0, "penalty_every": 3, "d_steps": 2},
}


def values(state: State) -> list[Tensor]:
    """All that a step changes."""
    return [tensor.clone() for tensor in captured._tensors(state)]


def both(
    recipe: Recipe, data: Samples, n: int, device: str = "cpu"
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Logs of n eager and of n captured steps, whose states then agree to the bit."""
    found = []
    states = []
    for run in (steps, captured.steps):
        state = State.new(recipe, data.shape, device)
        with numerics(torch.device(device)):
            taken = itertools.islice(run(state, recipe, data), n)
            found.append([{k: v.item() for k, v in logs.items()} for logs in taken])
        states.append(values(state))
        assert state.step == n
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    return found[0], found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_captured_steps_are_eager_steps(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "AHEAD", 4)
    eager, found = both(PLAIN.replace(steps=11, **KINDS[kind]), DATA, 11)
    assert found == eager


@pytest.mark.parametrize("name", ["dcgan", "penalized"])
def test_convolutions_too(name: str) -> None:
    eager, found = both(FULL.get(name, PENALIZED).replace(**STILL, steps=3), DATA, 3)
    assert found == eager


def test_data_that_stay_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "_fits", lambda data, device: False)
    monkeypatch.setattr(ring, "BYTES", 5 * 8 * 28 * 28)
    eager, found = both(PLAIN.replace(steps=7, d_steps=2), DATA, 7)
    assert found == eager


def test_points_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "_fits", lambda data, device: False)
    points = DATASETS["ring8"].load(Path())
    eager, found = both(PLAIN.replace(dataset="ring8", steps=3), points, 3)
    assert found == eager


def test_training_goes_on_where_it_was() -> None:
    recipe = PLAIN.replace(steps=9, r1=1.0, penalty_every=2)
    whole, parts = (State.new(recipe, DATA.shape) for _ in range(2))
    for _ in steps(whole, recipe, DATA):
        pass
    for _ in itertools.islice(captured.steps(parts, recipe, DATA), 4):
        pass
    again = State.new(recipe, DATA.shape)
    again.load_state_dict(parts.state_dict())
    assert len(list(captured.steps(again, recipe, DATA))) == 5
    assert all(torch.equal(a, b) for a, b in zip(values(whole), values(again), strict=True))
    assert list(captured.steps(again, recipe, DATA)) == []


def test_the_callers_random_numbers_stay() -> None:
    recipe = PLAIN.replace(steps=3, d_dropout=0.5)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    for _ in captured.steps(State.new(recipe, DATA.shape), recipe, DATA):
        pass
    assert torch.equal(torch.rand(3), expected)


def test_patterns_of_lazy_penalties() -> None:
    recipe = PLAIN.replace(r1=1.0, penalty_every=3, d_steps=2)
    found = captured.patterns(recipe, 100)
    assert found == [(False, False), (True, False), (False, True)]
    assert captured.patterns(PLAIN, 100) == [(True,)]
    assert captured.patterns(recipe, 1) == found[:1]


def test_too_many_patterns_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "PATTERNS", 1)
    recipe = PLAIN.replace(steps=3, r1=1.0, penalty_every=2)
    with pytest.warns(UserWarning, match="2 patterns of penalties, more than the 1"):
        eager, found = both(recipe, DATA, 3)
    assert found == eager


def test_a_step_that_cannot_be_captured_is_taken_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: captured.Captured, *_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(captured.Captured, "_program", refuse)
    with pytest.warns(UserWarning, match="cannot be captured.*stream is capturing"):
        eager, found = both(PLAIN.replace(steps=3), DATA, 3)
    assert found == eager


def test_the_first_step_that_is_not_finite_is_kept() -> None:
    latched = torch.full((4,), -1.0, dtype=torch.float64)
    good = {name: torch.tensor(0.5) for name in CHECKED}
    bad = good | {"g_loss": torch.tensor(math.nan)}
    worse = good | {"d_loss": torch.tensor(math.inf)}
    for step, logs in enumerate([good, bad, worse, good], 1):
        latch(latched, torch.tensor([step]), logs)
    assert latched[0] == 2
    assert latched[2].isnan() and latched[1] == latched[3] == 0.5


def test_captured_steps_latch_too() -> None:
    recipe = PLAIN.replace(steps=9)
    state = State.new(recipe, DATA.shape)
    state.nonfinite = torch.full((4,), -1.0, dtype=torch.float64)
    for _ in captured.steps(state, recipe, DATA):
        if state.step == 4:
            assert state.nonfinite[0] == -1
            next(state.generator.parameters()).data.fill_(math.nan)
    assert state.nonfinite[0] == 5
    assert state.nonfinite[1:].isnan().any()


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_named_recipes(name: str) -> None:
    n = 1000 if name in ("basic-gan", "capacity-z16-g16-d16") else 100
    recipe = RECIPES[name].recipe
    sides = (14,) * len(recipe.network.attention)  # digits have no feature maps of 16 pixels
    eager, found = both(recipe.replace(steps=n, attention=sides), DATA, n, "cuda")
    assert found == eager


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_of_all_kinds(kind: str) -> None:
    eager, found = both(PLAIN.replace(steps=200, **KINDS[kind]), DATA, 200, "cuda")
    assert found == eager


@pytest.mark.gpu
def test_dropout_in_a_graph() -> None:
    recipe = PLAIN.replace(steps=200, d_dropout=0.3, g_dropout=0.1)
    eager, found = both(recipe, DATA, 200, "cuda")
    assert found == eager


@pytest.mark.gpu
def test_a_graph_reads_data_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "_fits", lambda data, device: False)
    eager, found = both(PLAIN.replace(steps=300), DATA, 300, "cuda")
    assert found == eager


@pytest.mark.gpu
def test_capturing_warns_of_nothing() -> None:
    recipe = RECIPES["basic-gan"].recipe.replace(dataset="mnist10k", epochs=None, steps=20)
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(action="error"), numerics(torch.device("cuda")):
            assert (
                len(list(captured.steps(State.new(recipe, DATA.shape, "cuda"), recipe, DATA))) == 20
            )
    finally:
        torch.set_warn_always(before)
