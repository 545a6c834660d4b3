"""Files that lost data are found, whatever a decoder makes of them; whole ones are not."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_folder import encode, png, refuses, write_folder

from ganatomy.data.damage import CUT, LOST
from ganatomy.data.inspection import inspect
from ganatomy.data.pixels import FORMATS, decode

rng = np.random.default_rng(0)


def photo(side: int, noise: float = 5) -> Image.Image:
    """Smooth colors with some noise."""
    coarse = np.clip(128 + 50 * rng.normal(size=(side // 8 + 1, side // 8 + 1, 3)), 0, 255)
    smooth = Image.fromarray(coarse.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth) + noise * rng.normal(size=(side, side, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def flat(side: int) -> list[Image.Image]:
    """Images of few colors, whose files hold zeros."""
    at = np.indices((side, side)).sum(0)
    dot = np.full((side, side, 3), 255, np.uint8)
    dot[side // 2, side // 2] = 0
    halves = np.zeros((side, side, 3), np.uint8)
    halves[: side // 2, : side // 2, 0] = 255
    arrays: list[NDArray[Any]] = [
        np.zeros((side, side)),
        np.full((side, side, 3), (7, 99, 200)),
        dot,
        halves,
        at % 256,
        at % 2 * 255,
    ]
    return [Image.fromarray(array.astype(np.uint8)) for array in arrays]


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {}),
    "PNG, stored": ("PNG", {"compress_level": 0}),
    "JPEG": ("JPEG", {}),
    "JPEG, best": ("JPEG", {"quality": 100, "subsampling": 0}),
    "JPEG, optimized": ("JPEG", {"optimize": True, "quality": 90}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    "JPEG, restarts": ("JPEG", {"restart_marker_rows": 1}),
    "MPO": ("MPO", {}),
    "WebP": ("WEBP", {}),
    "WebP, fast": ("WEBP", {"method": 0, "quality": 100}),
    "WebP, lossless": ("WEBP", {"lossless": True, "method": 0}),
}
WAYS |= {"AVIF": ("AVIF", {"speed": 10})} if "AVIF" in FORMATS else {}
PADDED = Image.Exif()
PADDED[0x010E] = "\0" * 5000 + "x"  # zeros that are not pixels


def fault(content: bytes) -> str:
    """The reason for which a file is refused; empty if it is read."""
    try:
        decode(lambda: io.BytesIO(content), 0)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", [8, 32, 100, 300])
def test_whole_files_are_read(way: str, side: int) -> None:
    form, options = WAYS[way]
    for image in (*flat(side), photo(side), photo(side, 0)):
        padded: dict[str, Any] = {"exif": PADDED.tobytes()}
        padded |= {"icc_profile": bytes(3000)} if form != "PNG" else {}
        for more in ({}, padded):
            content = encode(image, form, **options, **more)
            assert fault(content) == "", (image, more)
            assert fault(content + bytes(500)) == "" or form == "AVIF"  # behind its end


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", [48, 200])
def test_lost_halves_are_found(way: str, side: int) -> None:
    """The second half, or its last quarter, is zeros, 0xFF, or missing; maybe the end is there."""
    form, options = WAYS[way]
    content = encode(photo(side), form, **options)
    for share in (0.5, 0.75):
        place = int(share * len(content))
        rest = len(content) - place
        assert fault(content[:place] + bytes(rest))
        assert fault(content[:place])
        if form != "AVIF":  # of which the end is not known
            assert fault(content[:place] + bytes(rest - 12) + content[-12:])
            assert fault(content[:place] + b"\xff" * rest)


@pytest.mark.parametrize("way", [way for way in WAYS if "PNG" in way])
def test_every_flipped_bit_of_a_png_is_found(way: str) -> None:
    content = encode(photo(16), "PNG", **WAYS[way][1])
    for place in rng.integers(8, len(content) - 4, 200):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        assert fault(bytes(flipped)), place


def test_what_is_said(tmp_path: Path) -> None:
    """By the check as by training, in the same words."""
    whole = encode(photo(64), "PNG")
    place = whole.index(b"IEND") - 8
    jpeg, webp = encode(photo(64), "JPEG"), encode(photo(64), "WEBP")
    half = {name: f[: len(f) // 2] + bytes(len(f) // 2) for name, f in (("j", jpeg), ("w", webp))}
    files = {
        "b.png": (whole[:place] + b"\0\0" + whole[place + 2 :], "has a wrong checksum at byte"),
        "c.png": (whole[:-12], CUT),
        "d.jpg": (jpeg[:-2] + bytes(100), CUT),
        "e.webp": (half["w"], LOST),
        "f.jpg": (half["j"][:-2] + b"\xff\xd9", LOST),
    }
    for name, (content, reason) in files.items():
        path = write_folder({"a.png": png(1, 64, 64, 3), name: content}, tmp_path / name[0])
        refuses(path, f"{name} {reason}")
        found = inspect(path)
        assert found.bad == 1 and reason in found.bad_examples[name]
        assert found.todo[0].startswith("--skip_bad: leave out 1")
