"""What is found when the theory's quantities are set against each other, as rows of numbers."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

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

Row = dict[str, Any]
Trained = dict[str, list[dict[int, nn.Module]]]
"""For each pair of LEARNED, for each seed, the discriminator at each step looked at."""

NORMAL, NORMAL_2D = modes(1.0, (0.0,)), modes(1.0, (0.0, 0.0))

COLLAPSED = modes(0.5, (-4.0,), (4.0,)), modes(0.5, (4.0,))
"""Data of two modes 16 stds apart, and a generator that makes one of them."""

LEARNED: dict[str, tuple[Mixture, Mixture]] = {
    "1-D": (modes(0.6, (-2.0,), (2.0,)), modes(1.5, (0.0,))),
    "2-D": (ring(8, 2.0, 0.4), modes(1.5, (0.0, 0.0))),
}
"""Data and a generator that stays, for discriminators to be trained on."""

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
"""Data, generator, and the closed form of their JSD where there is one. To add one, add a line."""

DISTANCES = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
"""Between the means of two Gaussians, in standard deviations."""

START, RATE, DESCENT = 6.0, 0.2, 500
"""Where a generator of one Gaussian starts, and the rate and steps of its descent to N(0, 1)."""


def identities() -> list[Row]:
    """Compare C(G) with -log 4 + 2 JSD, and JSD with its closed form, for each of PAIRS."""
    rows = []
    for name, (p, q, closed) in PAIRS.items():
        c, divergence = criterion(p, q), jsd(p, q)
        off = (best_logit(p, q, nodes(p, q).x).sigmoid() - 0.5).abs().max()
        row = {"pair": name, "jsd": divergence, "c": c, "d_from_half": float(off)}
        row["residual"] = c + math.log(4) - 2 * divergence
        row["closed_residual"] = None if closed is None else divergence - closed
        rows.append(row)
    return rows


def maximisers() -> Row:
    """Compare what maximises a log y + b log(1 - y) with a / (a + b), for 1,600 pairs a, b."""
    each = torch.linspace(0.025, 1, 40, dtype=torch.float64)
    a, b = torch.cartesian_prod(each, each).unbind(1)
    search, ascent = (float((y - a / (a + b)).abs().max()) for y in pointwise(a, b))
    return {"pairs": len(a), "search_residual": search, "ascent_residual": ascent}


def train(seeds: int, steps: int) -> Trained:
    """Train a discriminator on each of LEARNED from seeds 0, 1, ..."""
    return {name: [learn(*pair, s, steps) for s in range(seeds)] for name, pair in LEARNED.items()}


def learning(trained: Trained) -> list[Row]:
    """Say how near trained discriminators are to D* at each step: mean, low and high of the seeds.

    error is the mean of |D - D*| over (p + q) / 2; short is C(G) - V(D, G), never below 0.
    """
    rows = []
    for name, pair in LEARNED.items():
        for step in trained[name][0]:
            measured = [apart(nets[step], *pair) for nets in trained[name]]
            row: Row = {"pair": name, "step": step}
            for key, values in zip(("error", "short"), zip(*measured, strict=True), strict=True):
                mean = sum(values) / len(values)
                row[key] = {"mean": mean, "low": min(values), "high": max(values)}
            rows.append(row)
    return rows


@torch.no_grad()
def apart(net: nn.Module, p: Mixture, q: Mixture) -> tuple[float, float]:
    """Return a discriminator's mean |D - D*| over (p + q) / 2, 0 to 1, and C(G) - V(D, G)."""
    at = nodes(p, q, points=4)  # D has kinks, so more of them would not be more exact for long
    best, logits = best_logit(p, q, at.x), net(at.x)
    error = (logits.sigmoid() - best.sigmoid()).abs()
    short = value(p, q, best, at) - value(p, q, logits, at)
    return float(at.mean(p, error) + at.mean(q, error)) / 2, short


def gradients() -> list[Row]:
    """Compare the generator's gradients with the slopes of divergences, for each of DISTANCES."""
    rows = []
    for distance in DISTANCES:
        q = modes(1.0, (distance,))
        minimax, kept = (float(pull(NORMAL, q, loss)) for loss in ("minimax", "non_saturating"))
        falls = slope(lambda d: 2 * jsd(NORMAL, modes(1.0, (d,))), distance)
        rises = slope(lambda d: kl(modes(1.0, (d,)), NORMAL), distance)
        row = {"distance": distance, "minimax": minimax, "non_saturating": kept}
        row["minimax_residual"] = minimax - falls
        row["non_saturating_residual"] = kept - (rises - falls)
        rows.append(row)
    return rows


def slope(f: Callable[[float], float], x: float, h: float = 1e-3) -> float:
    """Differentiate by the five-point stencil, whose error is h⁴ f⁽⁵⁾ / 30."""
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


def descents() -> list[Row]:
    """Bring N(START, 1) to N(0, 1) by either loss, D being D* at every step."""
    rows = []
    for loss in ("minimax", "non_saturating"):
        means = descend(loss, START, RATE, DESCENT)
        near = next((i for i, mean in enumerate(means) if abs(mean) < 0.01), None)
        left = criterion(NORMAL, modes(1.0, (means[-1],))) + math.log(4)
        row = {"loss": loss, "rate": RATE, "steps_to_0.01": near, "mean": means[-1]}
        rows.append(row | {"c_residual": left, "means": means})
    return rows
