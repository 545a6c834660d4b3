"""CelebA is read in its own layout, and each mistake in it is one line that names it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_folder import encode, shade

from ganatomy.data import Split, load
from ganatomy.data.folder import load_images
from ganatomy.data.shape import reshape

LINES = [f"{i:06}.jpg {part}" for i, part in enumerate([0, 0, 0, 1, 2, 2, 0], 1)]


def write_celeba(root: Path, lines: list[str] = LINES, count: int = len(LINES)) -> Path:
    """Faces of 178 x 218, all different, and a partition file."""
    random = np.random.default_rng(0)
    faces = root / "celeba/img_align_celeba"
    faces.mkdir(parents=True, exist_ok=True)
    for i in range(1, count + 1):
        face = random.integers(0, 256, (28, 23, 3), np.uint8)
        image = Image.fromarray(face).resize((178, 218), Image.Resampling.BICUBIC)
        (faces / f"{i:06}.jpg").write_bytes(encode(image, "JPEG", quality=95))
    (root / "celeba/list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return faces


def test_splits(tmp_path: Path) -> None:
    faces = write_celeba(tmp_path)
    for split, numbers in {"train": [1, 2, 3, 7], "test": [5, 6]}.items():
        samples = load("celeba", tmp_path, split)  # type: ignore[arg-type]
        assert samples.values.shape == (len(numbers), 3, 64, 64) and samples.classes == ()
        assert not samples.labels.any()
        for made, number in zip(samples.values.numpy(), numbers, strict=True):
            pixels = np.asarray(Image.open(faces / f"{number:06}.jpg")).transpose(2, 0, 1)
            assert np.array_equal(made, reshape(pixels, (3, 64, 64)))


def test_shapes(tmp_path: Path) -> None:
    faces = write_celeba(tmp_path)
    assert load("celeba", tmp_path, "test", shape=(1, 32, 48)).values.shape == (2, 1, 32, 48)
    assert load("celeba", tmp_path, "test", shape=(3, 218, 178)).values.shape == (2, 3, 218, 178)
    as_folder = load_images(faces, shape=(3, 64, 64)).values
    assert torch.equal(as_folder[[0, 1, 2, 6]], load("celeba", tmp_path, None).values)


def test_order_is_by_name(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    expected = load("celeba", tmp_path, "train").values
    write_celeba(tmp_path, [*LINES[::-1], ""])
    assert torch.equal(load("celeba", tmp_path, "train").values, expected)


WRONG: Mapping[str, tuple[int, str, str]] = {
    "three": (2, "000003.jpg 3", "line 3: '000003.jpg 3' is not the name"),
    "negative": (0, "000001.jpg -1", "line 1: '000001.jpg -1'"),
    "word": (1, "000002.jpg train", "line 2: .*0 .train., 1 .valid. or 2 .test."),
    "no number": (1, "000002.jpg", "line 2: '000002.jpg' is not"),
    "too much": (3, "000004.jpg 1 1", "line 4: "),
    "comma": (3, "000004.jpg,1", "line 4: "),
    "folder": (4, "../000005.jpg 2", "line 5: "),
    "binary": (4, "\0\1 \2", "line 5: "),
    "twice": (5, "000001.jpg 2", "line 6: 000001.jpg is listed twice"),
    "absent": (6, "999999.jpg 0", "lacks 1 of 4 train images, first 999999.jpg"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_lines(tmp_path: Path, what: str) -> None:
    place, line, reason = WRONG[what]
    refuses(write_celeba(tmp_path, [*LINES[:place], line, *LINES[place + 1 :]]), reason)


def refuses(faces: Path, reason: str, split: Split = "train") -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        load("celeba", faces.parent.parent, split)
    assert "\n" not in str(caught.value) and "list_eval_partition.txt" in str(caught.value)


def test_absent(tmp_path: Path) -> None:
    faces = tmp_path / "celeba/img_align_celeba"
    refuses(faces, "no CelebA in .*looked for .* and img_align_celeba/.*--data-root")
    write_celeba(tmp_path)
    (tmp_path / "celeba/list_eval_partition.txt").unlink()
    refuses(faces, "no CelebA in")
    (tmp_path / "celeba/list_eval_partition.txt").write_text("")
    refuses(faces, "has no train images: give some the number 0")
    write_celeba(tmp_path, LINES[:4])
    refuses(faces, "has no test images: give some the number 2", "test")
    assert len(load("celeba", tmp_path, "train")) == 3


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    faces = write_celeba(tmp_path)
    (tmp_path / "celeba/list_eval_partition.txt").write_bytes(b"000001.jpg 0\n\xff\xfe\x00 9\n")
    refuses(faces, "line 2: ")


def test_corrupt_images(tmp_path: Path) -> None:
    faces = write_celeba(tmp_path)
    content = (faces / "000002.jpg").read_bytes()
    for bad in (b"", b"no image", content[:-2000]):
        (faces / "000002.jpg").write_bytes(bad)
        refuses(faces, "celeba: 000002.jpg cannot be read: .*repair it, or remove its line")
    (faces / "000002.jpg").write_bytes(encode(shade(9, 30, 30), "JPEG"))  # of any size
    assert (load("celeba", tmp_path, "train").values[1] == 9).all()
