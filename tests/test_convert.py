"""Images that are not 8-bit gray or RGB are converted by one policy, or refused with its flag."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from test_folder import encode, png, refuses, write_folder, write_zip
from test_pixels import chunk, deep_rgb

from ganatomy.cli.data import Data
from ganatomy.cli.main import parse
from ganatomy.data import Convert, load_images
from ganatomy.data.convert import FLAG
from ganatomy.data.pixels import decode
from ganatomy.evaluation.classifier import train_test_split
from ganatomy.gan.cost import dataset_size
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.data import load_data


def converted(content: bytes, convert: Convert = "white") -> NDArray[np.uint8]:
    """An image file as (H, W, C)."""
    return decode(lambda: io.BytesIO(content), 0, convert).pixels.transpose(1, 2, 0)


def filled(mode: str, *value: int) -> Image.Image:
    return Image.new(mode, (6, 4), value if len(value) > 1 else value[0])


def keyed(image: Image.Image, form: str = "PNG") -> bytes:
    """An image with a transparent color, its first pixel's."""
    pixel = image.getpixel((0, 0))
    return encode(image, form, transparency=pixel)


HALF = Image.new("RGBA", (6, 4), (200, 100, 0, 51))
TRANSPARENT: dict[str, tuple[bytes, tuple[int, ...], tuple[int, ...]]] = {
    # file, first pixel on white, on black
    "RGBA": (encode(HALF), (244, 224, 204), (40, 20, 0)),
    "RGBA WebP": (encode(HALF, "WEBP", lossless=True, exact=True), (244, 224, 204), (40, 20, 0)),
    "RGBA TIFF": (encode(HALF, "TIFF"), (244, 224, 204), (40, 20, 0)),
    "gray with alpha": (encode(filled("LA", 200, 51)), (244,), (40,)),
    "transparent color": (keyed(filled("RGB", 9, 8, 7)), (255, 255, 255), (0, 0, 0)),
    "transparent gray": (keyed(filled("L", 77)), (255,), (0,)),
    "transparent black": (keyed(filled("1", 0)), (255,), (0,)),
    "palette": (encode(filled("L", 50), mode="P", transparency=50), (255,), (0,)),
    "palette of alphas": (
        encode(filled("P", 0), transparency=bytes([0] + [255] * 255)),
        (255,),
        (0,),
    ),
    "GIF": (encode(filled("P", 3), "GIF", transparency=3), (255,), (0,)),
}


@pytest.mark.parametrize("what", TRANSPARENT)
def test_transparency(what: str) -> None:
    content, white, black = TRANSPARENT[what]
    with pytest.raises(ValueError, match=f"is partly transparent; {FLAG}"):
        converted(content, "none")
    backgrounds: dict[Convert, tuple[int, ...]] = {"white": white, "black": black}
    for convert, expected in backgrounds.items():
        made = converted(content, convert)
        assert made.shape == (4, 6, len(expected)) and (made == expected).all()


DEEP = np.array([[0, 255, 256, 0x1234], [0xFF00, 65535, 257, 128 * 257]], np.uint16)
DEPTHS = {
    "PNG": encode(DEEP),
    "TIFF": encode(DEEP, "TIFF"),
    "PGM": b"P5 4 2 65535 " + DEEP.astype(">u2").tobytes(),
    "plain PGM": b"P2 4 2 65535 " + b" ".join(b"%d" % v for v in DEEP.flat),
}


@pytest.mark.parametrize("what", DEPTHS)
def test_16_bits(what: str) -> None:
    with pytest.raises(ValueError, match=f"has 16-bit pixels; {FLAG}"):
        converted(DEPTHS[what], "none")
    assert np.array_equal(converted(DEPTHS[what], "black")[..., 0], DEEP >> 8)


def test_16_bits_that_hold_8_are_exact() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for deep in (pixels.astype(np.uint16) * 257, pixels.astype(np.uint16) << 8):
        assert np.array_equal(converted(encode(deep))[..., 0], pixels)


def test_16_bit_colors() -> None:
    assert not converted(deep_rgb()).any()
    rows = b"".join(b"\0" + bytes([9, 200, 8, 7, 250, 1]) * 6 for _ in range(4))
    content = deep_rgb()
    start, end = content.index(b"IDAT") - 4, content.index(b"IEND") - 4
    content = content[:start] + chunk(b"IDAT", zlib.compress(rows)) + content[end:]
    assert (converted(content) == (9, 8, 250)).all()
    clear = content[:start] + chunk(b"tRNS", bytes(6)) + content[start:]
    with pytest.raises(ValueError, match="16-bit pixels and a transparent color"):
        converted(clear)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 6), np.float32), np.zeros((4, 6), np.int32), filled("LAB", 9, 9, 9)],
)
def test_what_is_never_converted(image: Any) -> None:
    with pytest.raises(ValueError, match=r"(32-bit or float pixels|is LAB); save it"):
        converted(encode(image, "TIFF"))


def cmyk_profile() -> bytes:
    """A color profile of four inks, of which black is black and each other is medium gray."""
    grid = bytearray()
    for c in (0, 1):
        for m in (0, 1):
            for y in (0, 1):
                for k in (0, 1):
                    grid += bytes([0 if k else 128 if c or m or y else 255, 128, 128])
    ramp = bytes(range(256))
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + ramp * 4 + bytes(grid) + ramp * 3
    lut += bytes(-len(lut) % 4)
    table = struct.pack(">I4sII", 1, b"A2B0", 144, len(lut))
    head = bytearray(128)
    struct.pack_into(
        ">I4sI4s4s4s", head, 0, 144 + len(lut), b"    ", 0x02400000, *(b"prtr", b"CMYK", b"Lab ")
    )
    head[36:40] = b"acsp"
    struct.pack_into(">3I", head, 68, 0xF6D6, 0x10000, 0xD32D)
    return bytes(head) + table + lut


def test_cmyk() -> None:
    inks = {(0, 0, 0, 0): 255, (0, 0, 0, 255): 0, (255, 0, 0, 0): None, (0, 255, 255, 0): None}
    for ink, expected in inks.items():
        options: dict[str, Any] = {"quality": 100, "subsampling": 0}
        plain = encode(filled("CMYK", *ink), "JPEG", **options)
        with pytest.raises(ValueError, match=f"is CMYK; {FLAG}"):
            converted(plain, "none")
        naive = [255 - value for value in ink[:3]] if not ink[3] else [0, 0, 0]
        assert np.abs(converted(plain).astype(int) - naive).max() <= 2
        profiled = encode(filled("CMYK", *ink), "JPEG", icc_profile=cmyk_profile(), **options)
        by_profile = converted(profiled).astype(int)
        gray = 119 if expected is None else expected  # of a lightness of 50
        assert np.abs(by_profile - gray).max() <= 4, ink
        damaged = encode(filled("CMYK", *ink), "TIFF", icc_profile=b"no profile")
        with pytest.raises(ValueError, match="color profile that cannot be used"):
            converted(damaged)
    assert converted(encode(filled("YCbCr", 128, 128, 128), "TIFF")).shape == (4, 6, 3)


FILES = {"a.png": TRANSPARENT["RGBA"][0], "b.png": deep_rgb(), "c.png": png(3)}


def test_training_and_measuring_convert_alike(tmp_path: Path) -> None:
    """The policy is the recipe's, and evaluations of a run have it."""
    path = write_folder(FILES, tmp_path / "pics")
    recipe = Recipe.of(dataset=str(path), steps=1, **{"data.convert": "black"})
    expected = load_images(path, convert="black").values
    assert expected[:, :, 0, 0].tolist() == [[40, 20, 0], [0, 0, 0], [3, 3, 3]]
    assert torch.equal(load_data(recipe, RunOptions()).values, expected)
    assert dataset_size(recipe, RunOptions()).n == 3
    rest, test = train_test_split(str(path), tmp_path, convert="black")
    assert test is not None and len(rest) + len(test) == 3
    refuses(path, f"a.png is partly transparent; {FLAG}")


def test_the_recipe_records_it() -> None:
    plain = Recipe.of(steps=1)
    white = parse(["train", "basic-gan", "--convert", "white"])
    assert white.recipe.data.convert == "white"
    dotted = parse(["train", "basic-gan", "--data.convert", "white"])
    assert dotted.recipe == white.recipe
    assert plain.key == Recipe.of(steps=1, **{"data.convert": "none"}).key
    assert plain.key != Recipe.of(steps=1, **{"data.convert": "white"}).key


def test_check_names_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_zip(FILES, tmp_path / "pics")
    assert Data(action="check", path=path, json=True)() == 1
    todo = json.loads(capsys.readouterr().out)["todo"]
    assert todo == [f"{FLAG} (or black): convert 2 images that are not 8-bit gray or RGB"]
    assert Data(action="check", path=path, convert="white")() == 0


def test_the_cache_knows_the_policy(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganatomy.data.cache.LARGE", 1)
    for path in (write_zip(FILES, tmp_path / "pics"), write_folder(FILES, tmp_path / "more")):
        white, black = (load_images(path, convert=convert) for convert in ("white", "black"))
        assert white.values[0, 0, 0, 0] == 244 and black.values[0, 0, 0, 0] == 40
