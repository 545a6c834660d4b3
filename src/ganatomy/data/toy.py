"""Densities in the plane on which a GAN's failures can be seen and counted.

To add one, write its draw and its nearest mode, and add a line to DENSITIES and one to DATASETS.
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
"""Points of each split; mode k has those at k, k + modes, k + 2 modes, ..."""

SEEDS: dict[Split, int] = {"train": 0, "test": 1}
"""Of the draw, which is the same on every machine but for the last bits of sine and cosine."""

HIGH_QUALITY = 3.0
"""A sample is of high quality within so many standard deviations of its mode.

Srivastava et al. 2017 (VEEGAN), arXiv 1705.07761.
"""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Density:
    """Modes, each with isotropic normal noise around a centre or around an arc."""

    modes: tuple[str, ...]
    std: float
    """of the noise, in each coordinate"""
    draw: Callable[[NDArray[np.int64], np.random.RandomState], Points]
    """where points (N,) of these modes lie without noise: (N, 2)"""
    distances: Callable[[Points], Points]
    """of points (N, 2) from each mode: (N, modes)"""


def load(name: str, root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """POINTS points of a density, float32 (N, 2) in [-1, 1]; labels are modes, of equal shares.

    Args:
        name: in DENSITIES.
        root: not used; nothing is read.
        split: two independent draws.
        shape: (2,) or None; points cannot be brought to another.

    Raises:
        ValueError: for another shape.
    """
    if shape not in (None, (2,)):
        raise ValueError(
            f"{name} is points, which have shape 2 and cannot be brought to another; leave out "
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
    """Return the nearest mode of points (N, 2) and how far it is, in standard deviations.

    Modes covered are those with a point of high quality, one within HIGH_QUALITY. Both are (N,),
    int64 and float64; for moons the distance is from the arc that a moon is without noise.

    Raises:
        ValueError: for an unknown density, or points that are not (N, 2).
    """
    density = lookup(DENSITIES, name, "density")
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points of {name} are (N, 2), got {tuple(points.shape)}")
    apart = torch.from_numpy(density.distances(points.detach().cpu().double().numpy()))
    distance, mode = apart.min(dim=1)
    return mode, distance / density.std


def _at(centres: Points, modes: NDArray[np.int64], _: np.random.RandomState) -> Points:
    return centres[modes]


def _from_centres(centres: Points, points: Points) -> Points:
    return np.linalg.norm(points[:, None] - centres, axis=2)


def _on_moon(modes: NDArray[np.int64], random: np.random.RandomState) -> Points:
    """Evenly along half a circle; the second moon is the first, turned by 180° about 0."""
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
"""(8, 2) centres, counted anticlockwise from the right."""

GRID: Points = 0.45 * np.stack([np.arange(25) % 5 - 2.0, np.arange(25) // 5 - 2.0], axis=1)
"""(25, 2) centres, counted from the lower left, rows first."""

MOON: Points = np.array([-0.5, -0.25])
"""Centre of the upper half circle of radius 1 that the first moon is, before MOON_SCALE."""

MOON_SCALE = 0.55

DENSITIES = {
    "ring8": Density(
        tuple(f"{45 * k}°" for k in range(8)),
        0.009,
        partial(_at, RING),
        partial(_from_centres, RING),
    ),
    "grid25": Density(
        tuple(f"column {k % 5 + 1} row {k // 5 + 1}" for k in range(25)),
        0.01125,
        partial(_at, GRID),
        partial(_from_centres, GRID),
    ),
    "moons": Density(("upper", "lower"), 0.0275, _on_moon, _from_moons),
}
"""name -> its modes, noise and geometry.

ring8: radius 2 and deviation 0.02 of Metz et al. 2016 (arXiv 1611.02163), times 0.45; the ratio
of 0.01 is VEEGAN's too. grid25: VEEGAN's centres -4, -2, 0, 2, 4 and deviation 0.05, times 0.225.
moons: scikit-learn's make_moons with noise 0.05, moved to the centre, times 0.55.
"""
