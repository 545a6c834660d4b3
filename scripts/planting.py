"""Planted failures: images with known defects in place of a generator, and trainings that fail.

To add one, add a line to GENERATORS or TRAININGS, and its expected diagnosis to
tests/reference/test_planted.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ganatomy.data import Samples
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe


class Pools(NamedTuple):
    """The images that generators choose from."""

    train: Samples
    """the 10,000 embedded images, which memorization is measured against"""
    test: Samples


Generator = Callable[[Pools, int, torch.Generator], Tensor]
"""(pools, n, randomness) -> n uint8 images, or fewer if there are no more"""


def real(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
    """Take real test images."""
    return some(pools.test.values, n, rng)


def classes(count: int) -> Generator:
    """Take real images of a few randomly chosen classes."""

    def taken(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
        chosen = torch.randperm(10, generator=rng)[:count]
        return some(pools.test.values[torch.isin(pools.test.labels, chosen)], n, rng)

    return taken


def ones(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
    """Take real images of the class 1, whose images are the most similar."""
    return some(pools.test.values[pools.test.labels == 1], n, rng)


def prototypes(count: int, sd: float) -> Generator:
    """Repeat one image of each of the first classes, with Gaussian noise (sd of 255)."""

    def taken(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
        order = torch.randperm(len(pools.test), generator=rng)
        labels = pools.test.labels[order]
        firsts = torch.stack([order[labels == c][0] for c in range(count)])
        return noisy(pools.test.values[firsts[torch.arange(n) % count]], sd, rng)

    return taken


def copies(share: float, sd: float = 0) -> Generator:
    """Mix training images, with or without noise, with real test images."""

    def taken(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
        known = some(pools.train.values, round(share * n), rng)
        return torch.cat([noisy(known, sd, rng), real(pools, n - len(known), rng)])

    return taken


def uniform(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
    """Draw each pixel uniformly from 0 to 255."""
    return torch.randint(0, 256, (n, *pools.test.shape), generator=rng).to(torch.uint8)


def gaussian(sd: float) -> Generator:
    """Draw each pixel from a normal distribution around middle gray."""

    def drawn(pools: Pools, n: int, rng: torch.Generator) -> Tensor:
        return noisy(torch.full((n, *pools.test.shape), 127.5), sd, rng)

    return drawn


def some(images: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Take n images at random without replacement, or all if there are fewer."""
    return images[torch.randperm(len(images), generator=rng)[:n]]


def noisy(images: Tensor, sd: float, rng: torch.Generator) -> Tensor:
    """Add Gaussian noise to pixels, rounded and clipped to uint8."""
    if sd == 0:
        return images.to(torch.uint8)
    noise = sd * torch.randn(images.shape, generator=rng)
    return (images.float() + noise).round().clamp(0, 255).to(torch.uint8)


GENERATORS: dict[str, Generator] = {
    "real test digits": real,
    "one class": classes(1),
    "ones": ones,
    "two classes": classes(2),
    "five classes": classes(5),
    "nine classes": classes(9),
    "one image": prototypes(1, 0),
    "one image of each class": prototypes(10, 0),
    "one of each class, noise of 8": prototypes(10, 8),
    "training digits": copies(1.0),
    "a tenth training digits": copies(0.1),
    "training digits, noise of 4": copies(1.0, 4),
    "training digits, noise of 8": copies(1.0, 8),
    "uniform noise": uniform,
    "Gaussian noise of 64": gaussian(64),
    "Gaussian noise of 128": gaussian(128),
}

BASIC = RECIPES["basic-gan"].recipe.replace(
    dataset="mnist10k", z_dim=32, g_widths=(64, 128), d_widths=(128, 64), batch=64, steps=600
)
_CONV = RECIPES["conv-gan"].recipe.replace(
    dataset="mnist10k", g_widths=(16,), d_widths=(8,), batch=64, steps=400
)
_STRONG = BASIC.replace(lr_d=1e-3, d_steps=3, steps=600)

TRAININGS: dict[str, tuple[str, Recipe]] = {
    "small basic-gan": ("", BASIC.replace(steps=2000)),
    "small conv-gan": ("", _CONV),
    "D too strong": ("--lr_d 1e-3 --d_steps 3 --lr_g 1e-6", _STRONG.replace(lr_g=1e-6, steps=600)),
    "minimax, D too strong": (
        "--loss minimax --lr_d 1e-3 --d_steps 3",
        _STRONG.replace(loss="minimax", steps=600),
    ),
    "learning rates of 1": ("--lr_g 1 --lr_d 1", BASIC.replace(lr_g=1, lr_d=1, steps=600)),
    "learning rates of 10, deep D": (
        "--lr_g 10 --lr_d 10, 14 hidden layers in D",
        BASIC.replace(lr_g=10, lr_d=10, g_widths=(32,), d_widths=(64,) * 14, steps=600),
    ),
}
"""name -> (what was changed, recipe); seed 0"""
