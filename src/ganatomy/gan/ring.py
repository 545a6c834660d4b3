"""Draws of many steps in one place of memory, made on the CPU and read on a device."""

import functools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from ganatomy.data import Samples, scaled
from ganatomy.gan.draws import CpuDraws, Request, fill_labels, fill_latent
from ganatomy.gan.losses import Labels
from ganatomy.gan.schedules import SCHEDULES
from ganatomy.gan.step import penalties_due
from ganatomy.recipes.recipe import Recipe

AHEAD = 64
"""Steps whose draws are made and copied at once."""

WORKERS = 8
"""Threads that make draws at most; generators of random numbers run without Python's lock."""

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
        first = next(iter(self.recipes.values()))
        self.batch, self.z_dim = first.training.batch, first.network.z_dim
        self.workers = min(WORKERS, torch.get_num_threads())

    def new(self, pin: bool) -> Ring:
        """Return an empty ring on the host, in pinned memory for copies to a GPU."""
        n, sample = self.batch, self.data.values
        floats = batches = 0
        for asked in self.requests.values():
            drawn = [self._size(request) for request in asked if request.method != "real"]
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

    def _size(self, asked: Request) -> int:
        """Return how many numbers a request takes."""
        sizes = {"latent": self.batch * self.z_dim, "labels": 2 * self.batch}
        return sizes.get(asked.method, math.prod(asked.shape))

    def fill(self, ring: Ring, begin: int, end: int) -> None:
        """Make the draws of the steps from begin that a ring has rows for, before end."""
        steps = range(begin, min(begin + len(ring.floats), end))
        size = math.ceil(len(steps) * len(self.recipes) / self.workers) or 1
        parts = [
            (ring, place, recipe, steps[i : i + size], end)
            for place, recipe in self.recipes.items()
            for i in range(0, len(steps), size)
        ]
        pool = _pool(self.workers)
        for made in [pool.submit(self._fill, *part) for part in parts]:
            made.result()
        self.data.release()

    def _fill(
        self, ring: Ring, place: tuple[int, ...], recipe: Recipe, steps: range, end: int
    ) -> None:
        """Make the draws of steps for a place in their rows."""
        draws = CpuDraws(recipe, self.data, torch.device("cpu"), torch.Generator())
        floats, reals = ring.floats, ring.reals
        rows, factor = len(floats), SCHEDULES[recipe.training.schedule].factor
        for step in steps:
            draws.begin(step)
            k = step % rows
            row, used, batches = floats[(k, *place)], 0, 0
            for asked in self.requests[penalties_due(recipe, step)]:
                if asked.method == "real":
                    indices = draws.indices()
                    reals[(k, batches, *place)] = (
                        indices if self.resident else self.data.values[indices]
                    )
                    batches += 1
                    continue
                first, used = used, used + self._size(asked)
                _fill_numbers(asked, recipe, row[first:used], draws.rng)
        lrs = recipe.generator.lr, recipe.discriminator.lr
        rates = torch.tensor([[lr * factor(step / end) for lr in lrs] for step in steps])
        last = floats.movedim(0, -2)[place][:, -2:]
        last[torch.tensor([step % rows for step in steps])] = rates


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Return the threads that make draws, for all runs of this process."""
    return ThreadPoolExecutor(workers)


def _fill_numbers(asked: Request, recipe: Recipe, out: Tensor, rng: torch.Generator | None) -> None:
    """Draw what a request asks for, as CpuDraws does, into its part of a row."""
    if asked.method == "latent":
        fill_latent(recipe, out, rng)
    elif asked.method == "labels":
        fill_labels(recipe, out.view(2, -1), rng)
    else:
        out.uniform_(generator=rng)
