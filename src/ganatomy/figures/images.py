"""Samples as images: pixels, grids of them, PNG and npz bytes, scatter plots of points."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganatomy.figures.charts import COLORS, encode, style


def to_uint8(samples: Tensor) -> Tensor:
    """Map samples from [-1, 1] to uint8 pixels, rounded; values outside are clipped."""
    return samples.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


GRID = 64
"""Number of samples in each grid that a run keeps, always of the same latent vectors."""


def grid(pixels: Tensor, columns: int = 8, gap: int = 2) -> Tensor:
    """Lay out uint8 images (N, C, H, W) row by row as one image (C, rows, columns)."""
    from torchvision.utils import make_grid  # a second of import

    laid = make_grid(pixels, nrow=columns, padding=gap, pad_value=32)
    return laid[: pixels.shape[1]]  # make_grid repeats gray three times


def ungrid(image: bytes, shape: tuple[int, ...], columns: int = 8, gap: int = 2) -> Tensor:
    """Cut the PNG of a grid into its uint8 images (N, C, H, W).

    Args:
        image: the content of the file.
        shape: (C, H, W) of each image.
        columns: images in a row.
        gap: pixels between images.

    Raises:
        ValueError: if the content is not a PNG of such a grid.
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            array = np.asarray(opened)
    except OSError as error:
        raise ValueError(f"the grid is not a readable PNG: {error}") from error
    channels, height, width = shape
    laid = torch.from_numpy(array.copy()).view(*array.shape[:2], -1).permute(2, 0, 1)
    rows, rest = divmod(laid.shape[1] - gap, height + gap)
    if rest or laid.shape[0] != channels or laid.shape[2] != columns * (width + gap) + gap:
        size = f"{array.shape[1]} x {array.shape[0]} pixels"
        raise ValueError(f"expected a grid of {shape} images, got an image of {size}")
    tiles = laid[:, gap:, gap:].unfold(1, height, height + gap).unfold(2, width, width + gap)
    return tiles.permute(1, 2, 0, 3, 4).reshape(rows * columns, *shape).contiguous()


POINTS = 2000
"""Number of samples in each scatter plot that a run on points keeps."""


def scatter(points: Tensor, side: int = 360) -> bytes:
    """Draw points (N, 2) in [-1, 1] as a PNG of side x side pixels."""
    from matplotlib.figure import Figure  # half a second of import

    with style():
        figure = Figure(figsize=(side / 100, side / 100), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        x, y = points.T.tolist()
        axes.scatter(x, y, s=2.5, color=COLORS[0], alpha=0.5, linewidths=0)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=(), yticks=())
        axes.spines[:].set(color="#c8ccd1", visible=True)
        return encode(figure, "png")


def png(image: Tensor) -> bytes:
    """Encode a uint8 image (C, H, W) as PNG; C is 1 or 3."""
    array = image.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def npz(samples: Tensor) -> bytes:
    """Encode samples as a compressed npz file.

    The array is `images` (N, H, W, C) for uint8 images (N, C, H, W), `points` for points (N, D).
    """
    buffer = io.BytesIO()
    if samples.ndim == 2:
        np.savez_compressed(buffer, points=samples.numpy())
    else:
        np.savez_compressed(buffer, images=samples.permute(0, 2, 3, 1).contiguous().numpy())
    return buffer.getvalue()


def encoded(samples: Tensor, suffix: str, columns: int = 8) -> bytes:
    """Encode samples in [-1, 1], images or points, as an .npz file or as one .png file."""
    if samples.ndim == 2:
        return npz(samples) if suffix == ".npz" else scatter(samples)
    pixels = to_uint8(samples)
    return npz(pixels) if suffix == ".npz" else png(grid(pixels, columns))
