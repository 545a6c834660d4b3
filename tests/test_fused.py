"""Members of a fused run against their runs alone."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MLP
from torch import Tensor

from ganatomy.data import DATASETS, Samples
from ganatomy.gan import fused
from ganatomy.gan.draws import CpuDraws
from ganatomy.gan.losses import LOSSES, Labels
from ganatomy.gan.state import State
from ganatomy.gan.step import steps
from ganatomy.recipes.recipe import Recipe

DIGITS = DATASETS["mnist10k"].load(Path())
PLAIN = MLP.replace(
    g_dropout=0.0, d_dropout=0.0, d_norm="none", d_steps=1, g_steps=1, ema=0.0, batch=8, steps=8
)
HARD: dict[str, Any] = {"real_label": (1.0, 1.0), "fake_label": (0.0, 0.0)}
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "batch norm": {"d_norm": "batch"},
    "dropout": {"g_dropout": 0.2, "d_dropout": 0.3},
    "dropout of everything": {"d_dropout": 1.0},
    "two updates of D": {"d_steps": 2},
    "two updates of G": {"g_steps": 2, "same_fakes": True},
    "real logits for G": {"loss": "relativistic"} | HARD,
    "averages": {"ema": 0.9},
    "rates that fall": {"schedule": "linear"},
    "uniform": {"latent": "uniform"},
    "spectral norm": {"spectral": "both"},
    "spectral norm, dropout": {"spectral": "both", "d_dropout": 0.3, "gp": 1.0},
    "clipping, rmsprop and sgd": {"clip": 0.01, "opt_d": "rmsprop", "opt_g": "sgd"},
    "gp": {"gp": 1.0, "d_steps": 3},
    "dragan": {"dragan": 1.0},
    "lazy r1": {"r1": 1.0, "penalty_every": 3},
    "r1 and r2": {"r1": 1.0, "r2": 0.5},
    "points": {"dataset": "ring8", "r1": 1.0},
}
DCGAN: dict[str, Any] = {"model": "dcgan", "g_widths": (2,), "d_widths": (2,), "steps": 3}
CONV: dict[str, dict[str, Any]] = {
    "dcgan": {"d_norm": "batch"},
    "dcgan, dropout": {"d_dropout": 0.3, "gp": 1.0, "g_dropout": 0.1},
    "dcgan, spectral norm": {"spectral": "both", "d_dropout": 0.3},
    "dcgan, attention": {"attention": (14,), "r1": 1.0},
    "sagan": {"model": "sagan", "attention": (14,), "spectral": "both", "loss": "hinge"} | HARD,
}


def members(recipe: Recipe, m: int = 3) -> list[Recipe]:
    """Recipes of other seeds and, as far as there are any, other scalars."""
    found = []
    for i in range(m):
        x, y = (1.0, 0.5, 1.7)[i % 3], (1.0, 0.9, 0.99)[i % 3]
        own = recipe.objective
        fields: dict[str, Any] = {
            "lr_g": recipe.generator.lr * x,
            "lr_d": recipe.discriminator.lr / x,
        }
        fields |= {"gp": own.gp * x, "dragan": own.dragan * x, "r1": own.r1 * x, "r2": own.r2 * x}
        fields |= {"beta1": recipe.training.beta1 * y, "beta2": recipe.training.beta2 * y}
        fields |= {"ema": recipe.generator.ema * y, "seed": recipe.training.seed + i}
        if LOSSES[own.loss].takes_labels:
            fields["real_label"] = ((1.0, 1.0), (0.8, 1.0), (0.9, 0.9))[i % 3]
        found.append(recipe.replace(steps=recipe.training.steps, **fields))
    return found


def tensors(state: State) -> dict[str, Tensor]:
    """All that a checkpoint holds of a state, by name."""
    found: dict[str, Tensor] = {}
    for name, part in state.state_dict().items():
        if name.startswith("opt"):
            for k, kept in part["state"].items():
                found |= {f"{name}.{k}.{of}": value.clone() for of, value in kept.items()}
        elif name not in ("step", "shape"):
            found |= {f"{name}.{of}": value.clone() for of, value in part.items()}
    return found


def noise(state: State) -> frozenset[str]:
    """Names of what rounding alone decides, and of what follows from it.

    Batch norm takes a bias before it away again, so that Adam scales a gradient that is rounding.
    """
    found: set[str] = set()
    for name, opt in (("generator", state.opt_g), ("discriminator", state.opt_d)):
        for k, (of, weight) in enumerate(getattr(state, name).named_parameters()):
            moment = opt.state.get(weight, {}).get("exp_avg")
            if moment is not None and moment.abs().max() < 1e-12:
                found |= {f"opt_{name[0]}.{k}.exp_avg", f"opt_{name[0]}.{k}.exp_avg_sq"}
                nets = (
                    {name, "ema"}
                    if state.ema is not state.generator and name == "generator"
                    else {name}
                )
                found |= {f"{net}.{of}" for net in nets}
                found |= {
                    f"{n}.{b}"
                    for n in nets
                    for b, _ in getattr(state, n).named_buffers()
                    if "mean" in b
                }
    return frozenset(found)


def apart(
    a: dict[str, Tensor], b: dict[str, Tensor], without: frozenset[str] = frozenset()
) -> float:
    """Largest difference, relative to the largest value of its tensor."""
    assert a.keys() == b.keys() >= without
    far = {k: (a[k] - b[k]).abs().max() / a[k].abs().max().clamp_min(1e-30) for k in a}
    return max(float(value) for k, value in far.items() if k not in without)


def new(recipe: Recipe, data: Samples, dtype: torch.dtype) -> State:
    state = State.new(recipe, data.shape)
    for net in (state.generator, state.discriminator, state.ema):
        net.to(dtype)
    return state


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let draws be what they are, in float64."""
    for name in ("real", "latent", "uniform"):
        drawn = getattr(CpuDraws, name)
        monkeypatch.setattr(CpuDraws, name, lambda *a, drawn=drawn: drawn(*a).double())
    labels = CpuDraws.labels
    monkeypatch.setattr(
        CpuDraws, "labels", lambda draws: Labels(*(part.double() for part in labels(draws)))
    )


def distance(recipes: list[Recipe], data: Samples, n: int, dtype: torch.dtype) -> float:
    """How far members and their logs are from their runs alone after n steps."""
    group = fused.Members(recipes, [new(recipe, data, dtype) for recipe in recipes])
    logs = list(itertools.islice(fused.steps(group, data), n))
    worst = 0.0
    for m, recipe in enumerate(recipes):
        lone = new(recipe, data, dtype)
        seen = list(itertools.islice(steps(lone, recipe, data), n))
        pairs = [({k: v[m] for k, v in a.items()}, b) for a, b in zip(logs, seen, strict=True)]
        worst = max(
            [
                worst,
                apart(tensors(lone), tensors(group.write(m)), noise(lone)),
                *(apart(b, a) for a, b in pairs),
            ]
        )
        assert group.write(m).step == lone.step == n
        rates = [s.opt_g.param_groups[0]["lr"] for s in (lone, group.write(m))]
        assert rates[0] == rates[1]
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_their_runs_alone(kind: str, doubles: None) -> None:
    recipe = PLAIN.replace(steps=8, **KINDS[kind])
    data = DATASETS[recipe.data.dataset].load(Path())
    assert distance(members(recipe), data, 8, torch.float64) < 1e-8


@pytest.mark.parametrize("kind", CONV)
def test_members_with_convolutions(kind: str, doubles: None) -> None:
    recipe = PLAIN.replace(**DCGAN | CONV[kind])
    assert distance(members(recipe), DIGITS, 3, torch.float64) < 1e-8
