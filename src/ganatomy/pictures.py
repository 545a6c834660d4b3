"""Pictures: samples to pixels, grids and PNG bytes."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_uint8(samples: Tensor) -> Tensor:
    """Turn samples in [-1, 1] into pixels 0 to 255, rounded, not truncated; values beyond clip."""
    return samples.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def grid(pixels: Tensor, columns: int = 8, gap: int = 2) -> Tensor:
    """Lay out uint8 pictures (N, C, H, W) row by row as one picture (C, rows, columns)."""
    from torchvision.utils import make_grid  # a second of import, so only where it is needed

    laid = make_grid(pixels, nrow=columns, padding=gap, pad_value=32)
    return laid[: pixels.shape[1]]  # make_grid repeats grey three times


def png(picture: Tensor) -> bytes:
    """Encode one uint8 picture (C, H, W), C being 1 or 3, as PNG."""
    array = picture.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def npz(pixels: Tensor) -> bytes:
    """Encode uint8 pictures (N, C, H, W) as a compressed npz: array images, uint8 (N, H, W, C)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=pixels.permute(0, 2, 3, 1).contiguous().numpy())
    return buffer.getvalue()
