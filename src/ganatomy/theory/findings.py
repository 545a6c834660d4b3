"""Numerical checks of the theory: each result computed in two independent ways."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ganatomy.gan.machine import environment
from ganatomy.theory.densities import Mixture, modes, nodes, ring
from ganatomy.theory.game import (
    best_logit,
    criterion,
    descend,
    jsd,
    jsd_of_one_mode,
    kl,
    learn,
    pointwise,
    pull,
    value,
)

Trained = Mapping[str, Sequence[Mapping[int, nn.Module]]]
"""For each pair of LEARNED, for each seed, step to the discriminator at that step."""


@dataclass(frozen=True)
class Identity:
    """C(G) and JSD of a pair of densities in nats, computed independently."""

    pair: str
    jsd: float
    c: float
    d_from_half: float
    """largest |D* - 1/2|"""
    residual: float
    """C(G) - (-log 4 + 2 JSD)"""
    closed_residual: float | None
    """JSD minus its closed form; None if there is none"""


@dataclass(frozen=True)
class Maximizers:
    """Largest distances of numerical maximizers of a log y + b log(1 - y) from a / (a + b)."""

    pairs: int
    search_residual: float
    ascent_residual: float


@dataclass(frozen=True)
class Spread:
    """Mean, lowest and highest over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Learning:
    """Distance of trained discriminators from the optimal one at a step."""

    pair: str
    step: int
    error: Spread
    """mean of |D - D*| over (p + q) / 2, 0 to 1"""
    short: Spread
    """C(G) - V(D, G) in nats, never below 0"""


@dataclass(frozen=True)
class Gradient:
    """Gradients in the generator's mean at a distance in standard deviations, D being D*.

    Residuals are the differences from the slopes of 2 JSD and of KL - 2 JSD.
    """

    distance: float
    minimax: float
    non_saturating: float
    minimax_residual: float
    non_saturating_residual: float


@dataclass(frozen=True)
class Descent:
    """Gradient descent of the generator's mean, D being D* at every step."""

    loss: str
    rate: float
    near_step: int | None
    """first step with |mean| < 0.01"""
    mean: float
    c_residual: float
    """last C(G) + log 4"""
    means: tuple[float, ...]
    """mean at every step, the start first"""


@dataclass(frozen=True)
class Findings:
    """Numerical checks of the theory."""

    identities: tuple[Identity, ...]
    maximizers: Maximizers
    learning: tuple[Learning, ...]
    gradients: tuple[Gradient, ...]
    descents: tuple[Descent, ...]
    settings: Mapping[str, int]
    """seeds and steps"""
    environment: Mapping[str, Any]
    trained: Trained = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the trained networks."""
        found = asdict(replace(self, trained={}))
        del found["trained"]
        return found


NORMAL, NORMAL_2D = modes(1.0, (0.0,)), modes(1.0, (0.0, 0.0))

COLLAPSED = modes(0.5, (-4.0,), (4.0,)), modes(0.5, (4.0,))
"""Data with two modes 16 standard deviations apart, and a generator that produces one of them."""

LEARNED: dict[str, tuple[Mixture, Mixture]] = {
    "1-D": (modes(0.6, (-2.0,), (2.0,)), modes(1.5, (0.0,))),
    "2-D": (ring(8, 2.0, 0.4), modes(1.5, (0.0, 0.0))),
}
"""Data and a fixed generator, on which discriminators are trained."""

PAIRS: dict[str, tuple[Mixture, Mixture, float | None]] = {
    "N(0, 1) and itself": (NORMAL, NORMAL, 0.0),
    "N(0, 1) and N(0.5, 1)": (NORMAL, modes(1.0, (0.5,)), None),
    "N(0, 1) and N(1, 1)": (NORMAL, modes(1.0, (1.0,)), None),
    "N(0, 1) and N(2, 1)": (NORMAL, modes(1.0, (2.0,)), None),
    "N(0, 1) and N(4, 1)": (NORMAL, modes(1.0, (4.0,)), None),
    "N(0, 1) and N(40, 1), all but disjoint": (NORMAL, modes(1.0, (40.0,)), math.log(2)),
    "two modes and one of them": (*COLLAPSED, jsd_of_one_mode(2)),
    "two modes and one wide Gaussian": (*LEARNED["1-D"], None),
    "2-D Gaussian and itself": (NORMAL_2D, NORMAL_2D, 0.0),
    "2-D Gaussian and one shifted by (1, 1)": (NORMAL_2D, modes(1.0, (1.0, 1.0)), None),
    "2-D ring of eight and one of them": (
        ring(8, 2.0, 0.1),
        modes(0.1, (2.0, 0.0)),
        jsd_of_one_mode(8),
    ),
    "2-D ring of eight and one wide Gaussian": (*LEARNED["2-D"], None),
}
"""Data, generator, and the closed form of their JSD, or None. To add a pair, add a line."""

DISTANCES = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
"""Distances between the means of two Gaussians, in standard deviations."""

START, RATE, DESCENT = 6.0, 0.2, 500
"""Initial mean of a Gaussian generator, and rate and steps of its descent to N(0, 1)."""


def check(seeds: int = 3, steps: int = 2000) -> Findings:
    """Check the theory on known densities.

    Args:
        seeds: number of discriminators to train on each pair of LEARNED: seeds 0, 1, ...
        steps: training steps of each.

    Raises:
        ValueError: if either is below 1.
    """
    if seeds < 1 or steps < 1:
        raise ValueError(f"seeds and steps must be at least 1, got {seeds} {steps}")
    trained = train(seeds, steps)
    return Findings(
        identities=tuple(identities()),
        maximizers=maximizers(),
        learning=tuple(learning(trained)),
        gradients=tuple(gradients()),
        descents=tuple(descents()),
        settings={"seeds": seeds, "steps": steps},
        environment=environment(),
        trained=trained,
    )


def train(seeds: int, steps: int) -> Trained:
    """Train a discriminator on each of LEARNED from seeds 0, 1, ..."""
    return {name: [learn(*pair, s, steps) for s in range(seeds)] for name, pair in LEARNED.items()}


def identities() -> list[Identity]:
    """Compare C(G) with -log 4 + 2 JSD, and JSD with its closed form, for each of PAIRS."""
    found = []
    for name, (p, q, closed) in PAIRS.items():
        c, divergence = criterion(p, q), jsd(p, q)
        off = (best_logit(p, q, nodes(p, q).x).sigmoid() - 0.5).abs().max()
        residual = c + math.log(4) - 2 * divergence
        closed_residual = None if closed is None else divergence - closed
        found.append(Identity(name, divergence, c, float(off), residual, closed_residual))
    return found


def maximizers() -> Maximizers:
    """Compare maximizers of a log y + b log(1 - y) with a / (a + b), for 1,600 pairs a, b."""
    each = torch.linspace(0.025, 1, 40, dtype=torch.float64)
    a, b = torch.cartesian_prod(each, each).unbind(1)
    return Maximizers(len(a), *(float((y - a / (a + b)).abs().max()) for y in pointwise(a, b)))


def learning(trained: Trained) -> list[Learning]:
    """Measure the distance of trained discriminators from D* at each step."""
    found = []
    for name, pair in LEARNED.items():
        for step in trained[name][0]:
            measured = [apart(nets[step], *pair) for nets in trained[name]]
            error, short = (
                Spread(sum(values) / len(values), min(values), max(values))
                for values in zip(*measured, strict=True)
            )
            found.append(Learning(name, step, error, short))
    return found


@torch.no_grad()
def apart(net: nn.Module, p: Mixture, q: Mixture) -> tuple[float, float]:
    """Return a discriminator's mean |D - D*| over (p + q) / 2, 0 to 1, and C(G) - V(D, G)."""
    at = nodes(p, q, points=4)  # D has kinks, so that more points would not help
    best, logits = best_logit(p, q, at.x), net(at.x)
    error = (logits.sigmoid() - best.sigmoid()).abs()
    short = value(p, q, best, at) - value(p, q, logits, at)
    return float(at.mean(p, error) + at.mean(q, error)) / 2, short


def gradients() -> list[Gradient]:
    """Compare the generator's gradients with the slopes of divergences, for each of DISTANCES."""
    found = []
    for distance in DISTANCES:
        q = modes(1.0, (distance,))
        minimax, other = (float(pull(NORMAL, q, loss)) for loss in ("minimax", "non_saturating"))
        of_jsd = slope(lambda d: 2 * jsd(NORMAL, modes(1.0, (d,))), distance)
        of_kl = slope(lambda d: kl(modes(1.0, (d,)), NORMAL), distance)
        found.append(Gradient(distance, minimax, other, minimax - of_jsd, other - (of_kl - of_jsd)))
    return found


def slope(f: Callable[[float], float], x: float, h: float = 1e-3) -> float:
    """Differentiate by the five-point stencil, whose error is h⁴ f⁽⁵⁾ / 30."""
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


def descents() -> list[Descent]:
    """Move N(START, 1) to N(0, 1) with either loss, D being D* at every step."""
    found = []
    for loss in ("minimax", "non_saturating"):
        means = descend(loss, START, RATE, DESCENT)
        near = next((i for i, mean in enumerate(means) if abs(mean) < 0.01), None)
        left = criterion(NORMAL, modes(1.0, (means[-1],))) + math.log(4)
        found.append(Descent(loss, RATE, near, means[-1], left, tuple(means)))
    return found
