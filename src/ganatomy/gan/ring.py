"""Draws of many steps in one place of memory, made on the CPU and read on a device."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganatomy.data import Samples, scaled
from ganatomy.gan.draws import CpuDraws, Request
from ganatomy.gan.losses import Labels
from ganatomy.gan.schedules import SCHEDULES
from ganatomy.gan.step import penalties_due
from ganatomy.recipes.recipe import Recipe

AHEAD = 64
"""Steps whose draws are made and copied at once."""

BYTES = 2**28
"""Largest size of a ring; it has fewer rows where each holds large batches."""


class Ring(NamedTuple):
    """Draws of some steps in one place of memory: step k is row k % rows."""

    floats: Tensor
    """float32 (rows, numbers): latent vectors, labels and uniform numbers in the order of use; the
    last two are the learning rates of G and D; (rows, M, numbers) of M members"""
    reals: Tensor
    """of each batch of real samples, their indices, int64 (rows, batches, N), if the device holds
    the data; else the samples (rows, batches, N, ...) as the dataset holds them; (rows, batches, M,
    N, ...) of M members"""


class RowDraws:
    """Draws of the step that a cursor selects, read from the ring on the device."""

    def __init__(self, ring: Ring, cursor: Tensor, recipe: Recipe, data: Samples | None) -> None:
        row = cursor % len(ring.floats)
        self.floats, self.reals = (part.index_select(0, row)[0] for part in ring)
        self.recipe, self.data = recipe, data
        self.used = self.batches = 0

    def real(self) -> Tensor:
        """Return the next batch of real samples."""
        batch = self.reals[self.batches]
        self.batches += 1
        device = batch.device
        return scaled(batch, device) if self.data is None else self.data.batch(batch, device)

    def latent(self) -> Tensor:
        """Return latent vectors."""
        return self.uniform(self.recipe.training.batch, self.recipe.network.z_dim)

    def labels(self) -> Labels:
        """Return targets."""
        n = self.recipe.training.batch
        return Labels(self.uniform(n), self.uniform(n))

    def uniform(self, *shape: int) -> Tensor:
        """Return the next numbers of the row."""
        first, self.used = self.used, self.used + math.prod(shape)
        return self.floats[..., first : self.used].unflatten(-1, shape)


class RingMaker:
    """Makes rings of a recipe, or of members, and fills them as a function of (seed, step)."""

    def __init__(
        self,
        recipes: Recipe | Sequence[Recipe],
        data: Samples,
        resident: bool,
        requests: Mapping[tuple[bool, ...], Sequence[Request]],
    ) -> None:
        """Prepare for a recipe, or for members.

        Args:
            recipes: the settings.
            data: the real samples.
            resident: whether the device holds the data, so that it needs indices only.
            requests: what a step asks for, by its pattern of penalties.
        """
        self.recipes: dict[tuple[int, ...], Recipe] = {}
        """by place in a row"""
        self.members: tuple[int, ...] = ()
        if isinstance(recipes, Recipe):
            self.recipes[()] = recipes
        else:
            self.recipes |= {(m,): recipe for m, recipe in enumerate(recipes)}
            self.members = (len(recipes),)
        self.data, self.resident, self.requests = data, resident, requests

    def new(self, pin: bool) -> Ring:
        """Return an empty ring on the host, in pinned memory for copies to a GPU."""
        recipe, sample = next(iter(self.recipes.values())), self.data.values
        n = recipe.training.batch
        sizes = {"latent": n * recipe.network.z_dim, "labels": 2 * n}
        floats = batches = 0
        for asked in self.requests.values():
            drawn = [sizes.get(r.method, math.prod(r.shape)) for r in asked if r.method != "real"]
            floats = max(floats, sum(drawn) + 2)
            batches = max(batches, len(asked) - len(drawn))
        one = () if self.resident else tuple(sample.shape[1:])
        dtype = torch.int64 if self.resident else sample.dtype
        each = 4 * floats + batches * n * math.prod(one) * dtype.itemsize
        rows = max(1, min(AHEAD, BYTES // (each * len(self.recipes))))
        return Ring(
            torch.empty(rows, *self.members, floats, pin_memory=pin),
            torch.empty(rows, batches, *self.members, n, *one, dtype=dtype, pin_memory=pin),
        )

    def fill(self, ring: Ring, begin: int, end: int) -> None:
        """Make the draws of the steps from begin that a ring has rows for, before end."""
        for place, recipe in self.recipes.items():
            self._fill(ring, place, recipe, range(begin, min(begin + len(ring.floats), end)), end)
        self.data.release()

    def _fill(
        self, ring: Ring, place: tuple[int, ...], recipe: Recipe, steps: range, end: int
    ) -> None:
        """Make the draws of steps for a place in their rows."""
        rates = (recipe.generator.lr, recipe.discriminator.lr)
        draws = CpuDraws(recipe, self.data, torch.device("cpu"), torch.Generator())
        for step in steps:
            draws.begin(step)
            numbers: list[Tensor] = []
            k = step % len(ring.floats)
            reals = iter(ring.reals[k])
            for method, shape in self.requests[penalties_due(recipe, step)]:
                if method == "real":
                    indices = draws.indices()
                    batch = indices if self.resident else self.data.values[indices]
                    next(reals)[place].copy_(batch)
                else:
                    drawn = getattr(draws, method)(*shape)
                    numbers += drawn if method == "labels" else [drawn.flatten()]
            row = torch.cat(numbers)
            ring.floats[k][place][: len(row)] = row
            factor = SCHEDULES[recipe.training.schedule].factor(step / end)
            ring.floats[k][place][-2:] = torch.tensor([rate * factor for rate in rates])
