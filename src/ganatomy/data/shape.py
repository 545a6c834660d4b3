"""Center crop and resize, by one rule for all datasets.

An image is cropped to the largest centered rectangle of the target's aspect ratio (rounded to the
nearest pixel) and resized with Pillow's BILINEAR, which averages over all pixels when it shrinks
(antialiasing) and interpolates when it enlarges. Before that, gray becomes RGB by repetition, and
RGB becomes gray by Pillow's "L" (ITU-R 601-2 luma: 0.299 R + 0.587 G + 0.114 B).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ganatomy.data.samples import Samples

Shape = tuple[int, ...]
"""(C, H, W) of images, (2,) of points."""

MOST = 4096
"""Pixels of the longest side."""


def check(shape: Shape | None) -> None:
    """Check that this is a shape of images, or None, which keeps them as they are.

    Raises:
        ValueError: if it is not.
    """
    if shape is None:
        return
    if len(shape) != 3 or shape[0] not in (1, 3) or not all(1 <= n <= MOST for n in shape[1:]):
        raise ValueError(
            f"shape is channels (1 or 3), height and width (1 to {MOST:,}), such as --shape 3 64 "
            f"64; got {' '.join(map(str, shape)) or 'nothing'}"
        )


def reshape(pixels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Crop and resize one image (C, H, W) to a shape, as at the top of this module.

    An image of that shape is returned as it is. A constant image stays constant.
    """
    if pixels.shape == shape:
        return pixels
    channels, height, width = shape
    gray = len(pixels) == 1
    image = Image.fromarray(pixels[0] if gray else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if channels == 1 and not gray:
        image = image.convert("L")
    image = image.crop(_center(image.width, image.height, width, height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    made = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    return np.repeat(made, 3, axis=0) if channels == 3 and gray else made


def reshape_all(samples: Samples, shape: Shape | None) -> Samples:
    """Crop and resize every image to a shape (C, H, W), in memory; None keeps them as they are."""
    if shape is None or samples.shape == shape:
        return samples
    values = np.empty((len(samples), *shape), np.uint8)
    for made, pixels in zip(values, samples.values.numpy(), strict=True):
        made[:] = reshape(pixels, shape)
    return Samples(torch.from_numpy(values), samples.labels, samples.classes)


def _center(width: int, height: int, w: int, h: int) -> tuple[int, int, int, int]:
    """Return the largest centered box in width x height with the aspect ratio w : h."""
    wide, high = width, height
    if width * h > height * w:
        wide = max(1, (2 * height * w + h) // (2 * h))
    else:
        high = max(1, (2 * width * h + w) // (2 * w))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high
