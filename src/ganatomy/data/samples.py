"""Samples: values and labels of a dataset, and the order in which batches draw from it."""

import hashlib
import mmap
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Split = Literal["train", "test"]
"""Samples to train on, or samples held out for tests."""


READ = 4096
"""Images that are read at once where all are read in turn."""


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
    """Images, uint8 (N, C, H, W) in [0, 255], or points, float32 (N, D) in [-1, 1], with labels.

    Values are in memory, or in a file that is mapped to memory (see cache.py).
    """

    values: Tensor
    labels: Tensor
    """int64 (N,), indices of classes"""
    classes: tuple[str, ...] = ()
    """name of each class; empty without labels, which are then all 0"""
    mapped: mmap.mmap | None = None
    """file that holds the values, if it is mapped"""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.values.shape[1:])

    def batch(self, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Return the samples at these indices (B,) as float32 (B, ...) in [-1, 1] on a device."""
        taken = self.values[indices]
        self.release()
        return scaled(taken, device)

    def release(self) -> None:
        """Release the pages of a mapped file that were read, which would otherwise stay resident.

        The system keeps them cached until it needs the memory.
        """
        if self.mapped is not None and sys.platform != "win32":
            self.mapped.madvise(mmap.MADV_DONTNEED)


def scaled(values: Tensor, device: torch.device | str | None = None) -> Tensor:
    """Return values of samples as float32 in [-1, 1]; points stay as they are.

    The result is on the given device; None means where the values are.
    """
    moved = values.to(device or values.device, torch.float32)
    return moved if values.is_floating_point() else moved.div_(127.5).sub_(1)


def compact(labels: Tensor, names: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels (N,) as indices of the classes that have samples, and the classes' names.

    Args:
        labels: integers of at least 0, such as ids of persons.
        names: name of each label; if there are too few, classes are called by their labels.
    """
    ids, indices = labels.unique(return_inverse=True)
    known = ids.tolist()
    return indices, tuple(str(names[i] if len(names) > known[-1] else i) for i in known)


def digest(samples: Samples) -> str:
    """Return the SHA-256, in hex, of the values' shape and bytes, in order; labels do not count."""
    sha = hashlib.sha256(str(tuple(samples.values.shape)).encode())
    for part in samples.values.split(READ):
        sha.update(part.contiguous().numpy().data)
        samples.release()
    return sha.hexdigest()


def derive_seed(*parts: int) -> int:
    """Return a 64-bit seed that is a hash of a few non-negative integers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def batch_indices(n: int, batch: int, seed: int, k: int) -> Tensor:
    """Return the indices (batch,) of the k-th batch, where each epoch has n items in a new order.

    They depend on the arguments alone, so a resumed run has no state to restore. A batch may hold
    the end of one epoch and the start of the next.
    """
    begin, end, parts = k * batch, (k + 1) * batch, list[Tensor]()
    while begin < end:
        epoch, at = divmod(begin, n)
        parts.append(_order(n, seed, epoch)[at : at + end - begin])
        begin += len(parts[-1])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


ORDERS = 2**27
"""Bytes of the orders of epochs that are kept: two for each seed that is in use."""

_orders: OrderedDict[tuple[int, int], dict[int, Tensor]] = OrderedDict()
_orders_lock = Lock()


def _order(n: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch, kept for the batches that follow."""
    with _orders_lock:  # draws are made ahead by a thread
        kept = _orders.setdefault((n, seed), {})
        _orders.move_to_end((n, seed))
        if epoch not in kept:
            while len(kept) > 1:
                del kept[next(iter(kept))]
            rng = torch.Generator().manual_seed(derive_seed(seed, epoch))
            kept[epoch] = torch.randperm(n, generator=rng)
            while len(_orders) > 1 and _bytes_of_orders() > ORDERS:
                _orders.popitem(last=False)
        return kept[epoch]


def _bytes_of_orders() -> int:
    return sum(order.nbytes for kept in _orders.values() for order in kept.values())
