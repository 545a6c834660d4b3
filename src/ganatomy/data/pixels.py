"""One image file, or an npz file of many, to 8-bit gray or RGB pixels."""

import io
import math
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
"""Formats by Pillow's names; its other decoders never see files of unknown origin."""

LIMIT = 100_000_000
"""Bytes of the largest image file that is read."""

MOST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded; Pillow warns at the same number."""

CONTAINER = [
    Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")
]
"""Files with the memory limit of a Linux container, in versions 2 and 1 of control groups."""

IMAGES, LABELS = ("images", "arr_0", "x"), ("labels", "y", "arr_1")
"""Names of arrays in an npz file; the first that exists is used."""

DEEP = ";16[BLN]"
"""Pattern of 16-bit channels in Pillow's description of how it decodes them."""

MODES = {
    "1": "black and white",
    "L": "gray",
    "LA": "gray with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "I;16": "16-bit gray",
    "I;16B": "16-bit gray",
    "I": "32-bit gray",
    "F": "float",
}
"""Pillow's modes in words; others, such as RGB, RGBA and CMYK, keep their names."""

MOST_CLASSES = 2**16
"""Number of classes at most; larger labels are other numbers."""


def decode(opened: Callable[[], IO[bytes]], channels: int) -> NDArray[np.uint8]:
    """Read the first frame of an image file as uint8 (C, H, W) with 1 or 3 channels.

    Args:
        opened: function that opens the file.
        channels: channels of an image with a palette, whose colors may all be gray; 0 for any.

    Raises:
        ValueError: with the fault, in words that follow the name of the file.
    """
    with warnings.catch_warnings(action="ignore"):  # of metadata, which does not change pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = _load(opened)
        palette = image.mode in ("P", "PA") or image.format == "GIF"
        if image.has_transparency_data:
            image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
            if image.getchannel("A").getextrema() != (255, 255):
                raise ValueError("is partly transparent; put it on a background")
            image = image.convert(image.mode[:-1])
        if palette or image.mode == "1":
            image = image.convert("RGB" if palette else "L")
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"is {image.mode}; save it as gray or RGB of 8 bits")
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    gray = palette and channels != 3 and (pixels == pixels[:1]).all()
    return pixels[:1] if gray else pixels


def _load(opened: Callable[[], IO[bytes]]) -> Image.Image:
    try:
        with opened() as file:
            content = file.read(LIMIT + 1)
        if not content:
            raise EOFError("it is empty, a link or not a regular file")
        if len(content) > LIMIT:
            raise OverflowError(f"more than {LIMIT:,} bytes")
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if math.prod(image.size) > MOST_PIXELS:
            raise OverflowError(f"more than {MOST_PIXELS:,} pixels")
        deep = re.search(DEEP, str(image.tile))  # of RGB, which Pillow would cut to 8 bits
        image.load()
    except Exception as error:  # Pillow and zipfile raise many kinds
        raise ValueError(f"cannot be read: {_reason(error)}") from error
    if deep or image.mode.startswith(("I", "F")):
        raise ValueError("has 16-bit or float pixels; save it as gray or RGB of 8 bits")
    return image


def header(content: bytes) -> tuple[str, str, tuple[int, int]] | None:
    """Return an image file's format, mode, and width and height; None if it is not an image.

    Only the header is read; the rest may be damaged.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            mode = MODES.get(image.mode, image.mode)
            if re.search(DEEP, str(image.tile)):
                mode = "16-bit RGB" if image.mode in ("RGB", "RGBA") else "16-bit gray"
            return image.format or "unknown", mode, image.size
    except Exception:  # Pillow raises many kinds
        return None


def size(shape: tuple[int, ...]) -> str:
    """Describe a shape (C, H, W), such as 28 x 28 gray."""
    return f"{shape[2]} x {shape[1]} {'gray' if shape[0] == 1 else 'RGB'}"


def unreadable(path: Path, error: Exception) -> str:
    """Return the message for a file that cannot be read."""
    return f"{path} cannot be read, or is not what its name says: {_reason(error)}"


def _reason(error: Exception) -> str:
    text = re.sub(" <.*?>", "", str(error))  # addresses of objects
    return " ".join(text.split())[:160] or type(error).__name__


def read_npz(path: Path) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read images, uint8 (N, C, H, W), labels, int64 (N,), and class names.

    Raises:
        ValueError: if the file is damaged, or its arrays are not such, with the fix.
    """
    try:
        _check_entries(path)
        with np.load(path, allow_pickle=False) as file:
            names = [next((n for n in known if n in file), "") for known in (IMAGES, LABELS)]
            wanted = [n for n in names if n] if names[0] else list(file)
            arrays = {name: np.asarray(file[name]) for name in wanted}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        raise ValueError(unreadable(path, error)) from error
    values = _images(path, arrays, names[0])
    if not names[1]:
        return values, torch.zeros(len(values), dtype=torch.int64), ()
    labels = arrays[names[1]]
    whole = labels.dtype.kind in "iu" and labels.shape == values.shape[:1]
    if not whole or labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise ValueError(
            f"{path}: {names[1]} is {labels.dtype} of shape {labels.shape}; labels are one whole "
            f"number from 0 to {MOST_CLASSES - 1:,} for each of {len(values):,} images"
        )
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return values, torch.from_numpy(labels.astype(np.int64)), classes


def _check_entries(path: Path) -> None:
    """Check that the arrays of an npz file fit into memory, before any is read."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            check_packing(entry)
        needed = sum(entry.file_size for entry in archive.infolist())
    if needed > memory():
        raise OverflowError(f"its arrays take {needed:,} bytes, and memory has {memory():,}")


def check_packing(entry: zipfile.ZipInfo) -> None:
    """Check that a zip member is stored or deflated, as others expand without a limit."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed by another method than deflate; zip it again")


def memory() -> float:
    """Return the bytes of memory of this machine or its container; infinity if unknown."""
    if sys.platform == "win32":
        return math.inf
    texts = [file.read_text().strip() for file in CONTAINER if file.exists()]
    limits = [int(text) for text in texts if text.isdigit()]  # else "max"
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _images(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> Tensor:
    """Return the array of images, with channels first; by name, or the only one that fits."""
    shapes = ", ".join(f"{n} {array.shape}" for n, array in arrays.items())
    for ndim in (4, 3):
        fitting = [n for n, array in arrays.items() if array.ndim == ndim]
        name = name or (fitting[0] if len(fitting) == 1 else "")
        if fitting:
            break
    if not name:
        raise ValueError(
            f"{path}: which array holds the images? Name it images; there are {shapes or 'none'}"
        )
    images = arrays[name]
    if images.dtype != np.uint8:
        raise ValueError(f"{path}: {name} is {_convert(name, images)}")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
        raise ValueError(
            f"{path}: {name} of shape {arrays[name].shape} is not images (N, H, W), (N, H, W, C) "
            "or (N, C, H, W) of 1 or 3 channels"
        )
    return torch.from_numpy(np.ascontiguousarray(images))


def _convert(name: str, images: NDArray[Any]) -> str:
    """Describe an array that is not uint8, and how to convert it."""
    if images.dtype.kind not in "biuf" or not images.size:
        return f"{images.dtype}; save images as uint8 from 0 to 255"
    low, high = float(images.min()), float(images.max())
    how = "scale it to that first"
    if images.dtype.kind in "bf" and 0 <= low <= high <= 1:
        how = f'np.round({name} * 255.0).astype("uint8")'
    elif images.dtype.kind == "f" and -1 <= low <= high <= 1:
        how = f'np.round(({name} + 1) * 127.5).astype("uint8")'
    elif 0 <= low <= high <= 255:
        how = f'np.round({name}).astype("uint8")'
    return f"{images.dtype} from {low:g} to {high:g}; save it as uint8 from 0 to 255: {how}"
