"""Images from anywhere: a folder, an archive or an npz array of them becomes Samples."""

import warnings
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from ganatomy.data.cache import archive_key, collect, recall
from ganatomy.data.decoding import Decoded, Source, told
from ganatomy.data.listing import listing
from ganatomy.data.pixels import read_npz
from ganatomy.data.samples import Samples, Split
from ganatomy.data.shape import Shape, check, reshape_all

HELD_BACK = ("test", "val", "valid", "validation")
"""Folders of test images; the first of them that exists is used."""

CURE = "mend or remove it, or leave such images out with --skip_bad"


def load_images(
    path: Path, split: Split | None = None, skip_bad: bool = False, shape: Shape | None = None
) -> Samples:
    """Read a folder, .zip, .tar, .tar.gz, .tgz or .npz of images, sorted by name.

    All are 8-bit, grey (1 channel) or RGB (3), and as large as the first, unless they are brought
    to one shape (see shape.py). The folder that a image is in is its class, if there are two or
    more. If there are train and test folders (or one of HELD_BACK) at the top, or below one folder
    that holds all, split chooses among them. Many images are decoded into the cache (cache.py).

    An npz holds one uint8 array (N, H, W), (N, H, W, C) or (N, C, H, W), called images, arr_0 or x
    or the only one of such dimensions, and maybe labels from 0, called labels, y or arr_1.

    Args:
        path: where they are.
        split: which images, None for all; without such folders all are training images.
        skip_bad: leave out what is damaged, or unlike the first, with one warning.
        shape: (C, H, W) that each is cut and resized to; None leaves them as they are.

    Raises:
        ValueError: if there is nothing to read, or naming the first image that cannot be used.
        OSError: if there is no space for the cache.
    """
    check(shape)
    if path.is_file() and path.name.lower().endswith(".npz"):
        if split == "test":
            raise ValueError(f"{path} has no test images: an npz is one split, name another")
        return reshape_all(Samples(*read_npz(path)), shape)
    made = _collect(path, split, skip_bad, shape)
    if made.left_out:
        count = len(made.samples) + len(made.left_out)
        warnings.warn(f"{path}: {told(made.left_out, count)}", stacklevel=2)
    return made.samples


def _collect(path: Path, split: Split | None, skip_bad: bool, shape: Shape | None) -> Decoded:
    key = archive_key(path, split, shape, skip_bad) if path.is_file() else ""
    if key and (kept := recall(key)):  # looked for first: a large archive is slow to list
        return kept
    with ExitStack() as stack:
        files = listing(path, stack).images
        labels, classes = choose(path, list(files), split)
        return collect(Source(str(path), labels, files, classes, CURE), shape, skip_bad, key)


def choose(
    path: Path, names: list[str], split: Split | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Label the names of a split (-1: outside the class folders) and name the classes.

    Classes are those of all splits, so that a label means the same in each.
    """
    places = places_of(names)
    parts = {part for part, _ in places.values()} - {""}
    chosen = counted = names
    if split == "test" or (split == "train" and parts):
        used = split_folder(split, parts)
        if used is None:
            wanted = ("train",) if split == "train" else HELD_BACK
            raise ValueError(
                f"{path} has no {split} images: put them into a folder {' or '.join(wanted)} at "
                "its top, or name another dataset that has them"
            )
        chosen = [name for name in names if places[name][0] == used]
        counted = [name for name in names if places[name][0]]
    classes = sorted({places[name][1] for name in counted} - {""})
    if len(classes) < 2 or not any(places[name][1] for name in chosen):
        return dict.fromkeys(chosen, 0), ()
    labels = {kind: label for label, kind in enumerate(classes)} | {"": -1}
    return {name: labels[places[name][1]] for name in chosen}, tuple(classes)


def split_folder(split: Split, parts: Collection[str]) -> str | None:
    """Which of the split folders that there are has the images of a split."""
    wanted = ("train",) if split == "train" else HELD_BACK
    return next((part for part in wanted if part in parts), None)


def places_of(names: list[str]) -> dict[str, tuple[str, str]]:
    """Split folder and class folder of each name; empty where it has none."""
    folders = {name: name.split("/")[:-1] for name in names}
    depth = _split_depth(list(folders.values()))
    places = {}
    for name, inner in folders.items():
        top = "" if depth is None else "".join(inner[depth : depth + 1]).lower()
        part = top if top in ("train", *HELD_BACK) else ""
        is_class = inner and not (part and len(inner) - 1 == depth)
        places[name] = part, inner[-1] if is_class else ""
    return places


def _split_depth(folders: list[list[str]]) -> int | None:
    """Where the split folders are: 0 at the top, 1 below a folder of all, None if nowhere.

    A folder train among others, none of them for tests, is none: it may well be a class.
    """
    for depth in (0, 1):
        tops = {inner[depth].lower() for inner in folders if len(inner) > depth}
        alone = len({tuple(inner[:depth]) for inner in folders}) == 1
        both = "train" in tops and not tops.isdisjoint(HELD_BACK)
        if alone and tops and (both or tops <= {"train", *HELD_BACK}):
            return depth
    return None
