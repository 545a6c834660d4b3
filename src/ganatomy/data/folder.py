"""Images in a folder, an archive or an npz file, as Samples."""

import warnings
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from ganatomy.data.cache import archive_key, collect, recall
from ganatomy.data.decoding import Decoded, Source, describe
from ganatomy.data.listing import listing
from ganatomy.data.pixels import read_npz
from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check, reshape_all

TEST_FOLDERS = ("test", "val", "valid", "validation")
"""Folders of test images; the first that exists is used."""

FIX = "repair or remove it, or leave such images out with skip_bad"


def load_images(
    path: str | Path, split: Split | None = None, skip_bad: bool = False, shape: Shape | None = None
) -> Samples:
    """Read a folder, .zip, .tar, .tar.gz, .tgz or .npz of images, sorted by name.

    Images have 8 bits and are gray (1 channel) or RGB (3). All have the size of the first, unless
    they are resized to a shape (see shape.py). With two or more folders, the folder of an image is
    its class. With train and test folders (or one of TEST_FOLDERS) at the top, or below one folder
    that holds everything, split chooses between them. Large sets are decoded into the cache.

    An npz file holds one uint8 array (N, H, W), (N, H, W, C) or (N, C, H, W), named images, arr_0
    or x, or the only one of such dimensions. It may hold labels from 0, named labels, y or arr_1.

    Args:
        path: the folder or file.
        split: split to read, None for all; without split folders all are training images.
        skip_bad: leave out damaged images and images of another size, with one warning.
        shape: (C, H, W) that images are cropped and resized to; None keeps them.

    Raises:
        ValueError: if there is nothing to read, or naming the first unusable image.
        OSError: if there is no space for the cache.
    """
    check(shape)
    path = Path(path)
    if path.is_file() and path.name.lower().endswith(".npz"):
        if split == "test":
            raise ValueError(
                f"{path} has no test images, as an npz file is one split; name another file"
            )
        return reshape_all(Samples(*read_npz(path)), shape)
    made = _collect(path, split, skip_bad, shape)
    if made.left_out:
        count = len(made.samples) + len(made.left_out)
        warnings.warn(f"{path}: {describe(made.left_out, count)}", stacklevel=2)
    return made.samples


def _collect(path: Path, split: Split | None, skip_bad: bool, shape: Shape | None) -> Decoded:
    key = archive_key(path, split, shape, skip_bad) if path.is_file() else ""
    if key and (kept := recall(key)):  # first, because a large archive is slow to list
        return kept
    with ExitStack() as stack:
        files = listing(path, stack).images
        labels, classes = choose(path, list(files), split)
        return collect(Source(str(path), labels, files, classes, FIX), shape, skip_bad, key)


def choose(
    path: Path, names: list[str], split: Split | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the label of each name in a split (-1 outside the class folders), and the classes.

    Classes are those of all splits, so that a label has the same meaning in each.
    """
    places = places_of(names)
    parts = {part for part, _ in places.values()} - {""}
    chosen = counted = names
    if split == "test" or (split == "train" and parts):
        used = split_folder(split, parts)
        if used is None:
            wanted = ("train",) if split == "train" else TEST_FOLDERS
            raise ValueError(
                f"{path} has no {split} images: put them into a folder {' or '.join(wanted)} at "
                "its top, or name a dataset that has some"
            )
        chosen = [name for name in names if places[name][0] == used]
        counted = [name for name in names if places[name][0]]
    classes = sorted({places[name][1] for name in counted} - {""})
    if len(classes) < 2 or not any(places[name][1] for name in chosen):
        return dict.fromkeys(chosen, 0), ()
    labels = {kind: label for label, kind in enumerate(classes)} | {"": -1}
    return {name: labels[places[name][1]] for name in chosen}, tuple(classes)


def split_folder(split: Split, parts: Collection[str]) -> str | None:
    """Return the folder, of those that there are, with the images of a split."""
    wanted = ("train",) if split == "train" else TEST_FOLDERS
    return next((part for part in wanted if part in parts), None)


def places_of(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return the split folder and the class folder of each name, empty where there is none."""
    folders = {name: name.split("/")[:-1] for name in names}
    depth = _split_depth(list(folders.values()))
    places = {}
    for name, inner in folders.items():
        top = "" if depth is None else "".join(inner[depth : depth + 1]).lower()
        part = top if top in ("train", *TEST_FOLDERS) else ""
        is_class = inner and not (part and len(inner) - 1 == depth)
        places[name] = part, inner[-1] if is_class else ""
    return places


def _split_depth(folders: list[list[str]]) -> int | None:
    """Return the depth of the split folders: 0 at the top, 1 below one folder, None without any.

    A folder named train among others, none of them for tests, may be a class.
    """
    for depth in (0, 1):
        tops = {inner[depth].lower() for inner in folders if len(inner) > depth}
        alone = len({tuple(inner[:depth]) for inner in folders}) == 1
        both = "train" in tops and not tops.isdisjoint(TEST_FOLDERS)
        if alone and tops and (both or tops <= {"train", *TEST_FOLDERS}):
            return depth
    return None
