"""Densities in the plane, whose modes are known, so that mode collapse can be counted.

To add one, write its draw and its distances, and add an entry to DENSITIES and one to DATASETS.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape
from ganatomy.validation import lookup

POINTS = 100_000
"""Points per split; mode k has points k, k + modes, k + 2 modes, ..."""

SEEDS: dict[Split, int] = {"train": 0, "test": 1}
"""Seed per split. Draws are equal on every machine except for the last bits of sine and cosine."""

HIGH_QUALITY = 3.0
"""Largest distance of a high-quality sample from its mode, in standard deviations.

Srivastava et al. 2017 (VEEGAN), arXiv 1705.07761.
"""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Density:
    """Modes with isotropic normal noise around centers or arcs."""

    modes: tuple[str, ...]
    """name of each mode"""
    std: float
    """standard deviation of the noise, in each coordinate"""
    draw: Callable[[NDArray[np.int64], np.random.RandomState], Points]
    """(modes (N,), random numbers) to points (N, 2) without noise"""
    distances: Callable[[Points], Points]
    """points (N, 2) to their distances from each mode (N, modes)"""


def load(name: str, root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """Draw POINTS points of a density, float32 (N, 2) in [-1, 1]; modes have equal shares.

    Args:
        name: name in DENSITIES.
        root: not used.
        split: one of two independent draws.
        shape: (2,) or None.

    Returns:
        The points; their labels are their modes.

    Raises:
        ValueError: for another shape.
    """
    if shape not in (None, (2,)):
        raise ValueError(
            f"{name} is points, which have shape 2 and cannot be resized; leave out "
            f"--shape {' '.join(map(str, shape or ()))}"
        )
    density = DENSITIES[name]
    # the old interface, because numpy promises that its streams never change
    random = np.random.RandomState(SEEDS[split])
    labels = np.arange(POINTS, dtype=np.int64) % len(density.modes)
    points = density.draw(labels, random) + density.std * random.standard_normal((POINTS, 2))
    values = torch.from_numpy(points.astype(np.float32))
    assert values.abs().max() <= 1
    return Samples(values, torch.from_numpy(labels), density.modes)


def nearest_mode(points: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return the nearest mode of each point (N, 2) and its distance in standard deviations.

    A mode is covered if it has a point within HIGH_QUALITY. For moons the distance is from the arc.

    Args:
        points: generated points (N, 2).
        name: name in DENSITIES.

    Returns:
        Modes, int64 (N,), and distances, float64 (N,).

    Raises:
        ValueError: for an unknown density, or points that are not (N, 2).
    """
    density = lookup(DENSITIES, name, "density")
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points of {name} are (N, 2), got {tuple(points.shape)}")
    apart = torch.from_numpy(density.distances(points.detach().cpu().double().numpy()))
    distance, mode = apart.min(dim=1)
    return mode, distance / density.std


def _at(centers: Points, modes: NDArray[np.int64], _: np.random.RandomState) -> Points:
    return centers[modes]


def _from_centers(centers: Points, points: Points) -> Points:
    return np.linalg.norm(points[:, None] - centers, axis=2)


def _on_moon(modes: NDArray[np.int64], random: np.random.RandomState) -> Points:
    """Points evenly along half a circle; the second moon is the first, turned by 180° about 0."""
    angle = math.pi * random.random_sample(len(modes))
    first = np.stack([np.cos(angle), np.sin(angle)], axis=1) + MOON
    return MOON_SCALE * np.where(modes[:, None] == 0, first, -first)


def _from_moons(points: Points) -> Points:
    return np.stack([_from_moon(points), _from_moon(-points)], axis=1)


def _from_moon(points: Points) -> Points:
    at = points / MOON_SCALE - MOON
    x, y = at[:, 0], at[:, 1]
    from_ends = np.hypot(np.abs(x) - 1, y)
    return MOON_SCALE * np.where(y >= 0, np.abs(np.hypot(x, y) - 1), from_ends)


_TURN = 2 * math.pi * np.arange(8) / 8

RING: Points = 0.9 * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
"""Centers (8, 2), anticlockwise from the right."""

GRID: Points = 0.45 * np.stack([np.arange(25) % 5 - 2.0, np.arange(25) // 5 - 2.0], axis=1)
"""Centers (25, 2), from the lower left, rows first."""

MOON: Points = np.array([-0.5, -0.25])
"""Center of the first moon, an upper half circle of radius 1 before MOON_SCALE."""

MOON_SCALE = 0.55

DENSITIES = {
    "ring8": Density(
        tuple(f"{45 * k}°" for k in range(8)),
        0.009,
        partial(_at, RING),
        partial(_from_centers, RING),
    ),
    "grid25": Density(
        tuple(f"column {k % 5 + 1} row {k // 5 + 1}" for k in range(25)),
        0.01125,
        partial(_at, GRID),
        partial(_from_centers, GRID),
    ),
    "moons": Density(("upper", "lower"), 0.0275, _on_moon, _from_moons),
}
"""Modes, noise and geometry by name.

ring8: radius 2 and deviation 0.02 of Metz et al. 2016 (arXiv 1611.02163), times 0.45; VEEGAN has
the same ratio, 0.01. grid25: VEEGAN's centers -4, -2, 0, 2, 4 and deviation 0.05, times 0.225.
moons: scikit-learn's make_moons with noise 0.05, centered, times 0.55.
"""
