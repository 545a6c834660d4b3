"""One image file to 8-bit gray or RGB pixels."""

import io
import math
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, features

from ganatomy.data.convert import Convert, flatten, to_8_bits, to_rgb
from ganatomy.data.damage import damage

_AVIF = ("AVIF",) if "avif" in features.get_supported_modules() else ()

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM", *_AVIF)
"""Formats by Pillow's names; its other decoders never see files of unknown origin."""

LIMIT = 100_000_000
"""Bytes of the largest image file that is read."""

MOST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded; Pillow warns at the same number."""

CONTAINER = [
    Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")
]
"""Files with the memory limit of a Linux container, in versions 2 and 1 of control groups."""

DEEP = ";16[BLN]"
"""Pattern of 16-bit channels in Pillow's description of how it decodes them."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation that makes an image upright, by its EXIF orientation; other values mean upright."""

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


@dataclass(frozen=True)
class DecodedImage:
    """The first frame of an image file, upright."""

    pixels: NDArray[np.uint8]
    """(C, H, W) with 1 or 3 channels"""
    format: str
    """file format, by Pillow's name"""
    mode: str
    """pixels of the file, in words"""
    turned: bool
    """whether its EXIF orientation is another than upright"""


def decode(
    opened: Callable[[], IO[bytes]], channels: int, convert: Convert = "none"
) -> DecodedImage:
    """Read the first frame of an image file.

    Args:
        opened: function that opens the file.
        channels: channels of an image with a palette, whose colors may all be gray; 0 for any.
        convert: how to convert what is not 8-bit gray or RGB, see convert.py.

    Raises:
        ValueError: with the fault, in words that follow the name of the file.
    """
    with warnings.catch_warnings(action="ignore"):  # of metadata, which does not change pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image, mode, turned = _load(opened, convert)
        form = image.format or ""
        palette = image.mode in ("P", "PA") or image.format == "GIF"
        if image.has_transparency_data:
            image = flatten(image, convert)
        if palette or image.mode == "1":
            image = image.convert("RGB" if palette else "L")
        if image.mode not in ("L", "RGB"):
            image = to_rgb(image, convert)
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    gray = palette and channels != 3 and (pixels == pixels[:1]).all()
    return DecodedImage(pixels[:1] if gray else pixels, form, mode, turned)


def _load(opened: Callable[[], IO[bytes]], convert: Convert) -> tuple[Image.Image, str, bool]:
    """Return an upright image, its mode in words, and whether it had to be turned."""
    try:
        with opened() as file:
            content = file.read(LIMIT + 1)
        if not content:
            raise EOFError("it is empty, a link or not a regular file")
        if len(content) > LIMIT:
            raise OverflowError(f"more than {LIMIT:,} bytes")
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        if math.prod(image.size) > MOST_PIXELS:
            raise OverflowError(f"more than {MOST_PIXELS:,} pixels")
        deep, mode = _is_deep(image), _mode(image)  # Pillow would cut RGB to 8 bits
        form = image.format
        turn = None if form == "PNG" else _turn(image)
        image.load()
        turn = _turn(image) if form == "PNG" else turn  # a PNG may state it after its pixels
    except Exception as error:  # Pillow and zipfile raise many kinds
        raise ValueError(f"cannot be read: {_reason(error)}") from error
    if found := damage(content, image):
        raise ValueError(found)
    if deep or image.mode.startswith(("I", "F")):
        image = to_8_bits(image, convert)
    if turn is not None and form != "TIFF":  # which Pillow turns by itself
        image = image.transpose(turn)
    image.format = form  # which a changed image has lost
    return image, mode, turn is not None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that makes an image upright, if there is one."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata states no orientation
        return None


def _is_deep(image: Image.Image) -> bool:
    """Whether an opened image has channels of more than 8 bits."""
    if image.format == "PPM" and isinstance(image, ImageFile.ImageFile):
        return any(isinstance(t.args, tuple) and t.args[-1] > 255 for t in image.tile) or (
            image.mode == "I"
        )
    return re.search(DEEP, str(getattr(image, "tile", ""))) is not None


def _mode(image: Image.Image) -> str:
    """Describe the pixels of an opened image."""
    if _is_deep(image):
        return "16-bit RGB" if image.mode in ("RGB", "RGBA") else "16-bit gray"
    return MODES.get(image.mode, image.mode)


def header(content: bytes) -> tuple[str, str, tuple[int, int]] | None:
    """Return an image file's format, mode, and width and height; None if it is not an image.

    Only the header is read; the rest may be damaged.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            return image.format or "unknown", _mode(image), image.size
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
