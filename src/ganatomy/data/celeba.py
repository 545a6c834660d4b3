"""CelebA in torchvision's layout, with the split of its authors.

Z. Liu, P. Luo, X. Wang, X. Tang 2015, arXiv 1411.7766; for research that is not commercial.
"""

from functools import partial
from pathlib import Path
from typing import IO

from ganatomy.data.cache import collect
from ganatomy.data.decoding import Source
from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check

PARTITION = "list_eval_partition.txt"
"""File with one line per image: its name, and 0 (train), 1 (valid) or 2 (test)."""

FACES = "img_align_celeba"
"""Folder of 202,599 images of 178 x 218."""

SHAPE: Shape = (3, 64, 64)
"""Default shape: the central square, resized."""

PARTS: dict[Split, int] = {"train": 0, "test": 2}


def celeba(root: Path, split: Split = "train", shape: Shape | None = None) -> Samples:
    """Load the 162,770 training or 19,962 test faces, without classes, from root/celeba.

    They are decoded once per shape, into the cache. Nothing is downloaded, and checksums are not
    verified: any images with a partition file in this layout are accepted.

    Raises:
        ValueError: if files are absent, or an image cannot be used.
        OSError: if there is no space for the cache.
    """
    check(shape)
    folder = root / "celeba"
    file, faces = folder / PARTITION, folder / FACES
    if not file.is_file() or not faces.is_dir():
        raise ValueError(
            f"no CelebA in {folder} (looked for {PARTITION} and {FACES}/): download both from its "
            "authors, or point --data-root or $GANATOMY_DATA at the folder that holds celeba; a "
            "folder of images alone is a dataset by its path"
        )
    names = _partition(file, PARTS[split])
    if not names:
        raise ValueError(
            f"{file} has no {split} images: give some the number {PARTS[split]}, or give the "
            f"path {faces} as the dataset to train on all"
        )
    there = {image.name for image in faces.iterdir()}
    if absent := [name for name in names if name not in there]:
        raise ValueError(
            f"{faces} lacks {len(absent):,} of {len(names):,} {split} images, first {absent[0]}: "
            f"add them, or remove their lines from {file}"
        )
    fix = f"repair it, or remove its line from {file}"
    files = {name: partial(_open, faces / name) for name in names}
    source = Source("celeba", dict.fromkeys(names, 0), files, (), fix)
    return collect(source, shape or SHAPE, skip_bad=False).samples


def _partition(file: Path, part: int) -> list[str]:
    """Return the sorted names of one split; every line of the partition file is checked."""
    parts: dict[str, str] = {}
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in ("0", "1", "2") or Path(words[0]).name != words[0]:
            raise ValueError(
                f"{file}, line {number}: {line[:80]!r} is not the name of an image and 0 (train), "
                "1 (valid) or 2 (test), as in '000001.jpg 0'; fix it, or download the file again"
            )
        if words[0] in parts:
            raise ValueError(
                f"{file}, line {number}: {words[0]} is listed twice; keep one line per image, "
                "as no image may be in two splits"
            )
        parts[words[0]] = words[1]
    return sorted(name for name in parts if parts[name] == str(part))


def _open(file: Path) -> IO[bytes]:
    return file.open("rb")
