"""What every dataset is to the rest of the package, and how batches are drawn from it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """A dataset in memory: pictures as uint8 (N, C, H, W), with one label each (N,)."""

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.values.shape[1:])

    def take(self, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Return the samples at these positions as float32 in [-1, 1] on a device."""
        return self.values[indices].to(device, torch.float32).div_(127.5).sub_(1)


def mix(*parts: int) -> int:
    """Turn a few non-negative integers into one well-spread 64-bit seed."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def batch_indices(n: int, batch: int, seed: int, k: int) -> Tensor:
    """Return the k-th batch of an endless pass over n items, each epoch in a fresh order.

    A function of its arguments alone, so a resumed run has nothing to restore.
    """
    places = torch.arange(k * batch, (k + 1) * batch)
    epochs = range(k * batch // n, ((k + 1) * batch - 1) // n + 1)
    return torch.cat([_order(n, seed, e)[places[places // n == e] % n] for e in epochs])


@lru_cache(maxsize=2)
def _order(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(mix(seed, epoch)))
