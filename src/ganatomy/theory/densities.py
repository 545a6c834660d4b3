"""Known densities in one and two dimensions, and quadrature over them, in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

REACH = 9.0
"""Standard deviations around every mean that quadrature covers; 2e-19 of the mass is outside."""

PANEL = 16
"""Quadrature points per panel."""

WIDTHS = {1: 1.0, 2: 2.5}
"""Width of a panel in units of the smallest standard deviation, by dimension."""

MOST_POINTS = 2_000_000
"""Largest number of quadrature points, which fits into a laptop's memory."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of round Gaussians in one or two dimensions.

    Raises:
        ValueError: unless each component has a mean, a positive std and a positive weight, and the
            weights sum to 1.
    """

    means: tuple[tuple[float, ...], ...]
    stds: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len({len(self.means), len(self.stds), len(self.weights)}) != 1 or not self.means:
            raise ValueError("a mixture needs a mean, a std and a weight for each component")
        if {len(mean) for mean in self.means} not in ({1}, {2}):
            raise ValueError("the means of a mixture must all have one coordinate, or all two")
        if min(self.stds) <= 0 or min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError("stds and weights must be positive, and the weights sum to 1")

    @property
    def dim(self) -> int:
        """1 or 2."""
        return len(self.means[0])

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities (N,) of points (N, dim), finite for finite points."""
        means, stds, weights = map(double, (self.means, self.stds, self.weights))
        squares = (x[:, None] - means).square().sum(2) / (2 * stds**2)
        heights = weights.log() - self.dim * (stds * math.sqrt(2 * math.pi)).log()
        return (heights - squares).logsumexp(1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n points (n, dim)."""
        means, stds, weights = map(double, (self.means, self.stds, self.weights))
        part = torch.multinomial(weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, self.dim, generator=rng, dtype=torch.float64)
        return means[part] + stds[part, None] * noise


def modes(std: float, *means: tuple[float, ...]) -> Mixture:
    """Return a mixture of equally weighted Gaussians with one std at these means."""
    return Mixture(means, (std,) * len(means), (1 / len(means),) * len(means))


def ring(n: int, radius: float, std: float) -> Mixture:
    """Return a mixture of n equal Gaussians on a circle, the first at (radius, 0)."""
    angles = [2 * math.pi * i / n for i in range(n)]
    return modes(std, *((radius * math.cos(a), radius * math.sin(a)) for a in angles))


class Nodes(NamedTuple):
    """Points (N, dim) and weights (N,) of a quadrature rule."""

    x: Tensor
    w: Tensor

    def mean(self, density: Mixture, values: Tensor) -> Tensor:
        """Return the expectation of values (N, ...) under a density."""
        return torch.tensordot(self.w * density.log_prob(self.x).exp(), values, 1)


def trapezoid(low: float, high: float, panels: int, points: int) -> Nodes:
    """Return the trapezoidal rule from low to high, for integrands that vanish at both ends."""
    x = torch.linspace(low, high, panels * points + 1, dtype=torch.float64)
    return Nodes(x, torch.full_like(x, (high - low) / (panels * points)))


def legendre(low: float, high: float, panels: int, points: int) -> Nodes:
    """Return the Gauss-Legendre rule on each of the equal panels from low to high."""
    at, weight = map(double, np.polynomial.legendre.leggauss(points))
    half = (high - low) / panels / 2
    middles = low + half * (2 * torch.arange(panels, dtype=torch.float64) + 1)
    return Nodes((middles[:, None] + half * at).flatten(), (half * weight).repeat(panels))


Rule = Callable[[float, float, int, int], Nodes]


def nodes(p: Mixture, q: Mixture, rule: Rule = trapezoid, points: int = PANEL) -> Nodes:
    """Return nodes that cover both densities; the mass of each on them is 1 within 1e-9.

    Raises:
        ValueError: if the densities differ in dimension, or are so narrow and far apart that
            they need more than MOST_POINTS.
    """
    if p.dim != q.dim:
        raise ValueError(f"both densities must have the same dimension, got {p.dim} and {q.dim}")
    parts = [*zip(p.means + q.means, p.stds + q.stds, strict=True)]
    lows = [min(mean[i] - REACH * std for mean, std in parts) for i in range(p.dim)]
    highs = [max(mean[i] + REACH * std for mean, std in parts) for i in range(p.dim)]
    width = WIDTHS[p.dim] * min(std for _, std in parts)
    panels = [math.ceil((high - low) / width) for low, high in zip(lows, highs, strict=True)]
    if math.prod(points * n for n in panels) > MOST_POINTS:
        raise ValueError(f"more than {MOST_POINTS:,} quadrature points; use stds of similar size")
    sides = [rule(*side, points) for side in zip(lows, highs, panels, strict=True)]
    x, w = (torch.cartesian_prod(*each).view(-1, p.dim) for each in zip(*sides, strict=True))
    laid = Nodes(x, w.prod(1))
    for density in (p, q):
        assert abs(float(laid.mean(density, torch.ones_like(laid.w))) - 1) < 1e-9
    return laid


def double(values: Any) -> Tensor:
    """Return values as a tensor of float64."""
    return torch.as_tensor(values, dtype=torch.float64)
