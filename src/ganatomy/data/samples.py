"""What every dataset is to the rest of the package, and how batches are drawn from it."""

import hashlib
import mmap
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Split = Literal["train", "test"]
"""Which images of a dataset: those to learn from, or those kept back to classifier by."""


READ = 4096
"""Images that are looked at together where all are looked at one after the other."""


@dataclass(frozen=True)
class Size:
    """Number and shape of samples."""

    n: int
    shape: tuple[int, ...]
    """of one sample: (C, H, W) of images, (2,) of points"""
    mapped: bool = False
    """whether they are read from a file as they are needed, rather than held in memory"""


@dataclass(frozen=True)
class Samples:
    """A dataset: uint8 images (N, C, H, W) or float32 points (N, D), with one label each (N,).

    It is in memory, or the values are those of a file that is mapped there; see cache.py.
    """

    values: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    """what label i is called; empty if nothing is known of labels, which are then all 0"""
    mapped: mmap.mmap | None = None
    """what the values are read from, if that is a file"""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.values.shape[1:])

    def batch(self, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Return the samples at these positions as float32 on a device: images in [-1, 1]."""
        taken = self.values[indices]
        self.release()
        if taken.is_floating_point():
            return taken.to(device, torch.float32)
        return taken.to(device, torch.float32).div_(127.5).sub_(1)

    def release(self) -> None:
        """Let go of what was read of a mapped file, which would else stay resident, all of it.

        The system keeps it at hand as long as nothing else wants the memory.
        """
        if self.mapped is not None and sys.platform != "win32":
            self.mapped.madvise(mmap.MADV_DONTNEED)


def balanced(samples: Samples, n: int) -> Samples:
    """Take n images in their order: the first ones of each class, evenly, or evenly spaced."""
    if n >= len(samples):
        return samples
    if samples.classes:
        per_class = n // len(samples.classes)
        places = [(samples.labels == c).nonzero()[:, 0] for c in range(len(samples.classes))]
        taken = torch.cat([p[:per_class] for p in places]).sort().values
    else:
        taken = torch.arange(n) * len(samples) // n
    return Samples(samples.values[taken], samples.labels[taken], samples.classes)


def digest(samples: Samples) -> str:
    """Return the sha256, in hex, of the images' shape and bytes: labels do not count."""
    sha = hashlib.sha256(str(tuple(samples.values.shape)).encode())
    for part in samples.values.split(READ):
        sha.update(part.contiguous().numpy().data)
        samples.release()
    return sha.hexdigest()


def derive_seed(*parts: int) -> int:
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
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(seed, epoch)))
