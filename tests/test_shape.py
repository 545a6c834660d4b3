"""Images are cut at the center and resized by one policy, which constants and ramps check."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from test_folder import encode, png, shade, write_folder, write_npz, write_tgz

from ganatomy.data import Samples, load, reshape_all
from ganatomy.data.folder import load_images
from ganatomy.data.shape import check, reshape

SIDE = st.integers(1, 40)


def rows_and_columns(height: int, width: int) -> NDArray[np.uint8]:
    """An image (2 of 3 channels) that says where each pixel was."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0]).astype(np.uint8)


@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from([1, 3]), st.integers(0, 255))
def test_a_constant_stays(h: int, w: int, to_h: int, to_w: int, c: int, value: int) -> None:
    for made_of in (1, 3):
        made = reshape(np.full((made_of, h, w), value, np.uint8), (c, to_h, to_w))
        assert made.shape == (c, to_h, to_w) and made.dtype == np.uint8
        assert (made == value).all()


@pytest.mark.parametrize(
    ("size", "to", "top", "left"),
    [
        ((218, 178), (178, 178), 20, 0),
        ((100, 180), (100, 100), 0, 40),
        ((7, 4), (4, 4), 1, 0),
        ((8, 100), (8, 16), 0, 42),
        ((100, 10), (20, 10), 40, 0),
    ],
)
def test_the_cut_is_at_the_center(
    size: tuple[int, int], to: tuple[int, int], top: int, left: int
) -> None:
    made = reshape(rows_and_columns(*size), (3, *to))
    assert np.array_equal(made, rows_and_columns(*size)[:, top : top + to[0], left : left + to[1]])


def test_celeba_to_64() -> None:
    """The central 178 x 178 and nothing else: rows 20 to 197, made smaller."""
    image = np.random.default_rng(0).integers(0, 256, (3, 218, 178), np.uint8)
    center = Image.fromarray(image[:, 20:198].transpose(1, 2, 0))
    expected = np.asarray(center.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(reshape(image, (3, 64, 64)), expected)
    image[:, :20] = image[:, 198:] = 0
    assert np.array_equal(reshape(image, (3, 64, 64)), expected)


def test_smaller_is_an_average() -> None:
    """Lines of one pixel become gray, for every pixel counts."""
    lines = np.zeros((1, 64, 64), np.uint8)
    lines[:, ::2] = 200
    made = reshape(lines, (1, 8, 8))
    assert (abs(made[:, 1:-1].astype(int) - 100) <= 4).all()


def test_channels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 6, 6), np.uint8)
    red, green, blue = image.astype(float)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert abs(reshape(image, (1, 6, 6))[0] - luma).max() <= 0.51
    repeated = reshape(image[:1], (3, 6, 6))
    assert np.array_equal(repeated, np.repeat(image[:1], 3, axis=0))
    assert reshape(image, (3, 6, 6)) is image


@pytest.mark.parametrize(
    "shape", [(), (64,), (64, 64), (2, 64, 64), (3, 0, 64), (3, 64, 4097), (3, -1, 4), (3, 1, 1, 1)]
)
def test_shapes_that_are_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for name in ("mnist10k", "mnist", "cifar10", "fashion-mnist", "celeba", str(tmp_path)):
        with pytest.raises(ValueError, match=r"shape is channels .*--shape 3 64 64; got"):
            load(name, tmp_path, "train", shape=shape)
    check((1, 1, 4096))


def test_in_memory(tmp_path: Path) -> None:
    digits = load("mnist10k", tmp_path, "train")
    some = Samples(digits.values[:20], digits.labels[:20], digits.classes)
    made = reshape_all(some, (3, 64, 64))
    assert made.values.shape == (20, 3, 64, 64) and made.classes == digits.classes
    assert torch.equal(made.labels, some.labels)
    one = reshape(digits.values[7].numpy(), (3, 64, 64))
    assert np.array_equal(made.values[7].numpy(), one)
    assert reshape_all(some, None) is some and reshape_all(some, (1, 28, 28)) is some
    assert load("mnist10k", tmp_path, None, shape=(1, 14, 14)).shape == (1, 14, 14)


def test_images_of_many_shapes(tmp_path: Path) -> None:
    files = {"a.png": png(1), "b.png": png(2, 9, 4), "c.gif": encode(shade(3, 5, 5), "GIF")}
    paths = [write_folder(files, tmp_path / "pics"), write_tgz(files, tmp_path / "pics")]
    for path in paths:
        with pytest.raises(
            ValueError, match=r"b.png is 4 x 9 gray but .*resize all .*--shape 3 64"
        ):
            load_images(path)
        for channels in (1, 3):
            made = load_images(path, shape=(channels, 8, 8)).values
            assert made.shape == (3, channels, 8, 8)
            assert made.flatten(1).double().mean(dim=1).tolist() == [1, 2, 3]


def test_npz(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", images=np.stack([shade(1), shade(2)]), y=np.array([0, 1]))
    made = load_images(path, shape=(1, 8, 8))
    assert made.shape == (1, 8, 8) and made.labels.tolist() == [0, 1]
    assert made.values[:, 0, 0, 0].tolist() == [1, 2]
