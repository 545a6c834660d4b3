"""Samples: values and labels of a dataset, and the order in which batches draw from it."""

import hashlib
import mmap
import sys
from collections import OrderedDict
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

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

    The result is on the given device, or else on that of the values.
    """
    moved = values.to(device or values.device, torch.float32)
    return moved if values.is_floating_point() else moved.div_(127.5).sub_(1)


def as_samples(images: Any) -> Samples:
    """Convert images from Python to Samples.

    Args:
        images: Samples; a tensor (N, C, H, W) or (N, H, W); an array of these shapes or of
            (N, H, W, C), where C is 1 or 3; a torch Dataset or a sequence of single images, which
            may be Pillow's, or of pairs (image, label). Values are integers in [0, 255], or floats
            in [0, 1] or [-1, 1]: the latter if any of all images is below 0.

    Returns:
        uint8 images. Without labels there are no classes. Classes are those that have images. Those
        of a Dataset without names are called by their labels.

    Raises:
        ValueError: for anything else, such as NaN, bool, or images of several sizes.
    """
    if isinstance(images, Samples):
        return images
    if isinstance(images, Tensor | np.ndarray):
        pixels = _uint8(_batched(images))
        return Samples(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    several = isinstance(images, Dataset | Sequence) and isinstance(images, Sized)
    if not several or isinstance(images, IterableDataset | str | bytes):
        raise ValueError(
            "expected images as a tensor, an array, a Dataset with a length or a list, got a "
            f"{type(images).__name__}"
        )
    pairs = [_pair(images[i]) for i in range(len(images))]
    forms = list(dict.fromkeys((image.dtype, tuple(image.shape[1:])) for image, _ in pairs))
    if len(forms) != 1:
        found = " and ".join(f"{dtype} {shape}" for dtype, shape in forms[:2]) or "none"
        raise ValueError(f"expected images of one type and size, got {found}; convert them first")
    pixels = _uint8(torch.cat([image for image, _ in pairs]))
    labels = [label for _, label in pairs if label is not None]
    if not labels:
        return Samples(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    if len(labels) < len(pairs) or min(labels) < 0:
        raise ValueError("expected a label of 0 or more with each image, or none with any")
    return Samples(pixels, *compact(torch.tensor(labels), getattr(images, "classes", ())))


def compact(labels: Tensor, names: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels (N,) as indices of the classes that have samples, and the classes' names.

    Args:
        labels: integers of at least 0, such as ids of persons.
        names: name of each label; if there are too few, classes are called by their labels.
    """
    ids, indices = labels.unique(return_inverse=True)
    known = ids.tolist()
    return indices, tuple(str(names[i] if len(names) > known[-1] else i) for i in known)


def _pair(item: Any) -> tuple[Tensor, int | None]:
    """Return an item of a Dataset as an image (1, C, H, W) and its label."""
    image, *labels = item if isinstance(item, tuple | list) else (item,)
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "RGB"):
            raise ValueError(f'expected a gray or RGB image, got {image.mode}; use .convert("RGB")')
        image = np.asarray(image)
    if not isinstance(image, Tensor | np.ndarray) or len(labels) > 1:
        raise ValueError(
            f"expected an image, or a pair (image, label), got a {type(item).__name__}"
        )
    if not labels:
        return _batched(image[None]), None
    label = labels[0].item() if isinstance(labels[0], Tensor | np.generic) else labels[0]
    if type(label) is not int:
        raise ValueError(f"expected an integer as label, got {label!r}; leave it out or convert it")
    return _batched(image[None]), label


def _batched(images: Tensor | NDArray[Any]) -> Tensor:
    """Return images as (N, C, H, W)."""
    if isinstance(images, np.ndarray):
        last = images.ndim == 4 and images.shape[3] in (1, 3)
        if last and images.shape[1] in (1, 3):
            raise ValueError(f"channels are first or last in {images.shape}; give a tensor NCHW")
        array = np.array(images.transpose(0, 3, 1, 2) if last else images, order="C")
        try:
            images = torch.from_numpy(array)
        except TypeError as error:
            raise ValueError(f"expected an array of numbers, got {array.dtype}") from error
    images = images.detach().cpu()
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel():
        raise ValueError(
            f"expected images (N, 1 or 3, H, W), got {tuple(images.shape)}; permute or reshape them"
        )
    return images


def _uint8(images: Tensor) -> Tensor:
    """Return values of any type in [0, 255], [0, 1] or [-1, 1] as uint8."""
    if images.dtype == torch.uint8:
        return images
    if images.dtype == torch.bool or images.is_complex():
        raise ValueError(f"expected uint8 or floats, got {images.dtype}; give images in [0, 255]")
    if bad := int((~images.isfinite()).sum()):
        kind = "NaN" if images.isnan().any() else "infinity"
        raise ValueError(
            f"expected finite images, got a tensor that holds {kind} ({bad:,} values are not "
            "finite); leave such images out"
        )
    low, high = (float(end) for end in images.aminmax())
    if not images.is_floating_point():
        if low < 0 or high > 255 or high <= 1:
            raise ValueError(
                f"expected integers up to 255, got [{low:g}, {high:g}]; give uint8, or floats in "
                "[0, 1] or [-1, 1]"
            )
        return images.to(torch.uint8)
    if not -1 - _SLACK <= low <= high <= 1 + _SLACK:
        raise ValueError(
            f"expected floats in [0, 1] or [-1, 1], got [{low:g}, {high:g}]; scale them, or give "
            "uint8 in [0, 255]"
        )
    scaled = images.float().mul(255) if low >= -_SLACK else images.float().add(1).mul(127.5)
    return scaled.round().clamp(0, 255).to(torch.uint8)


_SLACK = 1e-3
"""Tolerance at the ends of ranges of floats, for rounding; a quarter of a gray level."""


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
    places = torch.arange(k * batch, (k + 1) * batch)
    epochs = range(k * batch // n, ((k + 1) * batch - 1) // n + 1)
    return torch.cat([_order(n, seed, e)[places[places // n == e] % n] for e in epochs])


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
