"""Pixels are what the file says; whatever is not 8-bit gray or RGB is refused with its reason."""

import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from test_folder import encode, png, refuses, shade, values, write_folder, write_npz, write_zip

from ganatomy.data import pixels
from ganatomy.data.folder import load_images
from ganatomy.data.inspection import inspect

FORMS = {"jpg": "JPEG", "tif": "TIFF"}


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [*product(("png", "bmp", "gif", "tif", "tiff", "jpg", "jpeg"), (1, 3)), ("webp", 3)],
)
def test_formats(tmp_path: Path, suffix: str, channels: int) -> None:
    image = shade(200, 4, 6) if channels == 1 else shade(200) // np.array([1, 2, 4], np.uint8)
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    content = encode(image, FORMS.get(suffix, suffix.upper()), **options)
    loaded = load_images(write_folder({f"a.{suffix}": content}, tmp_path / "pics")).values[0]
    expected = torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)
    assert loaded.shape == (channels, 4, 6)
    difference = (loaded.int() - expected.int()).abs().max()
    assert difference <= (3 if FORMS.get(suffix) == "JPEG" or suffix == "jpeg" else 0)


def test_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(shade(value)) for value in (10, 20)]
    moving = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert values(load_images(write_folder({"a.gif": moving}, tmp_path / "pics"))) == [10]


RAMP = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
COLORS = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3))
USABLE = {
    "bilevel": (encode(RAMP, mode="1"), 1),
    "bilevel, no transparent pixel": (encode(RAMP.point(lambda _: 255, "1"), transparency=0), 1),
    "gray": (encode(RAMP), 1),
    "gray, opaque alpha": (encode(RAMP, mode="LA"), 1),
    "gray, no transparent pixel": (encode(RAMP, transparency=255), 1),
    "gray palette": (encode(RAMP, mode="P"), 1),
    "gray palette, no transparent pixel": (encode(RAMP, mode="P", transparency=255), 1),
    "RGB that is gray": (encode(RAMP, mode="RGB"), 3),
    "RGB": (encode(COLORS), 3),
    "RGB, opaque alpha": (encode(COLORS, mode="RGBA"), 3),
    "RGB, no transparent pixel": (encode(COLORS, transparency=(9, 9, 9)), 3),
    "palette": (encode(COLORS.quantize()), 3),
}


@pytest.mark.parametrize("what", USABLE)
def test_modes(tmp_path: Path, what: str) -> None:
    content, channels = USABLE[what]
    samples = load_images(write_folder({"a.png": content}, tmp_path / "pics"))
    assert samples.shape == (channels, 4, 6)
    expected = np.array(Image.open(io.BytesIO(content)).convert("RGBA").convert("RGB"))
    assert torch.equal(
        samples.values[0].expand(3, 4, 6), torch.from_numpy(expected).permute(2, 0, 1)
    )


BLACK = Image.fromarray(shade(0, 4, 6))
PALETTES = {
    "PNG": encode(BLACK, mode="P"),
    "GIF": encode(BLACK, "GIF", optimize=True),
    "GIF that Pillow opens as gray": encode(BLACK, "GIF", optimize=False),
}


@pytest.mark.parametrize("what", PALETTES)
def test_gray_palette_among_colors(tmp_path: Path, what: str) -> None:
    """An image of a palette may be gray by chance, one without says what it is."""
    files = {"a.png": encode(COLORS), "b.gif": PALETTES[what]}
    assert values(load_images(write_zip(files, tmp_path / "pics"))) == [0, 0]
    files = {"a.png": encode(RAMP), "b.gif": PALETTES[what]}
    assert load_images(write_zip(files, tmp_path / "pics")).shape == (1, 4, 6)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def deep_rgb() -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress((b"\0" + bytes(6 * 6)) * 4))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


GOOD = encode(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8))
CLEAR = COLORS.convert("RGBA")
CLEAR.putpixel((2, 2), (0, 0, 0, 254))
BAD = {
    "empty": (b"", "empty, a link"),
    "text": (b"not an image", "cannot identify image file[;)]"),
    "cut": (GOOD[:-40], "truncated"),
    "cut JPEG": (encode(RAMP, "JPEG")[:-60], "Truncated"),
    "flipped": (GOOD[:60] + bytes([GOOD[60] ^ 255]) + GOOD[61:], "cannot be read"),
    "transparent": (encode(CLEAR), "partly transparent"),
    "transparent key": (encode(COLORS, transparency=(0, 1, 2)), "partly transparent"),
    "transparent palette": (encode(RAMP, mode="P", transparency=50), "partly transparent"),
    "16-bit gray": (encode(np.zeros((4, 6), np.uint16)), "has 16-bit pixels"),
    "16-bit RGB": (deep_rgb(), "has 16-bit pixels"),
    "float": (encode(np.zeros((4, 6), np.float32), "TIFF"), "32-bit or float"),
    "CMYK": (encode(COLORS, "JPEG", mode="CMYK"), "is CMYK"),
    "other format": (encode(COLORS, "TGA"), "cannot identify"),
    "16-bit PPM": (b"P6 6 4 65535 " + bytes(144), "has 16-bit pixels"),
    "16-bit plain PPM": (b"P3 6 4 999 " + b"1 " * 72, "has 16-bit pixels"),
    "10-bit PGM": (b"P5 6 4 1023 " + bytes(48), "has 16-bit pixels"),
    "cut PPM": (b"P6 6 4 255 " + bytes(70), "truncated|not enough"),
    "size": (png(0, 6, 4, 3), "is 4 x 6 RGB but the first, a/0.png, is 6 x 4 RGB"),
    "mode": (png(0, 4, 6), "is 6 x 4 gray but the first, a/0.png, is 6 x 4 RGB"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_images_are_named(tmp_path: Path, what: str) -> None:
    content, reason = BAD[what]
    files = {"a/0.png": png(5), "a/1.png": content, "b/2.png": png(6)}
    refuses(write_folder(files, tmp_path / "pics"), f"a/1.png .*{reason}")


TURNED: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
    lambda a: a,
    lambda a: a[:, ::-1],
    lambda a: a[::-1, ::-1],
    lambda a: a[::-1],
    lambda a: a.swapaxes(0, 1),
    lambda a: np.rot90(a, -1),
    lambda a: np.rot90(a, 2).swapaxes(0, 1),
    lambda a: np.rot90(a),
]
"""What EXIF orientations 1 to 8 ask for, of an array (H, W, C)."""
OTHER_COLORS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8))
TIFFS = ["raw", "tiff_lzw", "tiff_deflate", "jpeg"]


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def upright(content: bytes) -> tuple[NDArray[np.uint8], bool]:
    found = pixels.decode(lambda: io.BytesIO(content), 0)
    return found.pixels.transpose(1, 2, 0), found.turned


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "MPO", *TIFFS])
@pytest.mark.parametrize("value", [*range(1, 9), 0, 9])
def test_exif_orientation(tmp_path: Path, form: str, value: int) -> None:
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    options |= {"compression": form} if form in TIFFS else {}
    options["exif"] = oriented(value)
    if form in TIFFS[1:] and value not in range(1, 9):
        pytest.skip("libtiff does not write it")
    content = encode(OTHER_COLORS, "TIFF" if form in TIFFS else form, **options)
    flat = encode(OTHER_COLORS, "TIFF" if form in TIFFS else form, **(options | {"exif": b""}))
    found, turned = upright(content)
    wanted = TURNED[value - 1 if value in range(1, 9) else 0](upright(flat)[0])
    assert np.array_equal(found, wanted) and turned == (value in range(2, 9))
    files = {"a.jpg": content, "b.jpg": encode(OTHER_COLORS)}
    assert inspect(write_folder(files, tmp_path / "pics")).turned == turned


@pytest.mark.skipif("AVIF" not in pixels.FORMATS, reason="this Pillow does not read AVIF")
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_avif(value: int) -> None:
    options: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
    content = encode(OTHER_COLORS, "AVIF", exif=oriented(value), **options)
    found, turned = upright(content)
    assert np.array_equal(
        found, TURNED[value - 1](upright(encode(OTHER_COLORS, "AVIF", **options))[0])
    )
    assert turned == (value > 1)


def test_orientation_wherever_it_is_stated() -> None:
    plain = encode(OTHER_COLORS)
    exif = chunk(b"eXIf", oriented(6).removeprefix(b"Exif\0\0"))
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    ends = plain.index(b"IDAT") - 4, len(plain) - 12
    for more, place in product((exif, xmp), ends):
        found, turned = upright(plain[:place] + more + plain[place:])
        assert turned and np.array_equal(found, TURNED[5](np.asarray(OTHER_COLORS)))
    for mode in ("1", "L", "P"):
        image = OTHER_COLORS.convert(mode)
        made = upright(encode(image, exif=oriented(5)))[0]
        assert np.array_equal(made, TURNED[4](upright(encode(image))[0]))


@pytest.mark.parametrize("exif", [b"Exif\0\0MM", b"Exif\0\0" + bytes(99), b"junk"])
def test_damaged_metadata_states_no_orientation(exif: bytes) -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        assert not upright(encode(OTHER_COLORS, form, exif=exif))[1]


def test_warnings_about_metadata_are_not_passed_on(tmp_path: Path) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x09"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_images(write_folder({"a.jpg": encode(RAMP, "JPEG", exif=exif)}, tmp_path / "pics"))
    assert not caught


PAIR = np.stack([shade(1), shade(2)])


@pytest.mark.skipif(sys.platform == "win32", reason="memory is not told")
def test_memory_is_the_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "memory.max"
    monkeypatch.setattr(pixels, "CONTAINER", [file, tmp_path / "absent"])
    machine = pixels.memory()
    for text, found in (("max\n", machine), (f"{2**63 - 4096}\n", machine), ("271\n", 271)):
        file.write_text(text)
        assert pixels.memory() == found > 0
    refuses(write_npz(tmp_path / "a.npz", x=PAIR), "and memory has 271")


def test_too_many_pixels_whatever_pillow_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = write_folder({"a.png": encode(Image.new("1", (9460, 9460)))}, tmp_path / "pics")
    refuses(path, "a.png cannot be read: more than 89,478,485 pixels")
