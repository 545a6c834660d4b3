"""Images given from Python: tensors, arrays, Datasets and lists become Samples."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ganatomy.data.samples import Samples, compact


def as_samples(images: Any) -> Samples:
    """Convert images from Python to Samples.

    Args:
        images: Samples; a tensor (N, C, H, W) or (N, H, W); an array of these shapes or of
            (N, H, W, C), where C is 1 or 3; a torch Dataset or a sequence of single images, which
            may be Pillow's, or of pairs (image, label). Values are integers in [0, 255], or floats
            in [0, 1] or [-1, 1]: the latter if any of all images is below 0.

    Returns:
        uint8 images. Without labels there are no classes. Only classes that have images count. A
        Dataset without names of classes has their labels as names.

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
