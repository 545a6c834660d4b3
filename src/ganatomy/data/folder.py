"""Pictures from anywhere: a folder, an archive or an npz array of them becomes Samples.

Archives are read in memory and never unpacked; names in them only order and label.
"""

import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganatomy.data.pixels import LIMIT, decode, read_npz, size, unreadable
from ganatomy.data.samples import Samples, Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""How the names of pictures end, in either case; of several frames the first is taken."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")

HELD_BACK = ("test", "val", "valid", "validation")
"""Folders of test pictures; the first of them that exists is used."""

Open = Callable[[], IO[bytes]]


def pictures(path: Path, split: Split | None = None, skip_bad: bool = False) -> Samples:
    """Read a folder, .zip, .tar, .tar.gz, .tgz or .npz of pictures, sorted by name.

    All are 8-bit, grey (1 channel) or RGB (3), and as large as the first. The folder that a picture
    is in is its class, if there are two or more. If there are train and test folders (or one of
    HELD_BACK) at the top, or below one folder that holds all, split chooses among them.

    An npz holds one uint8 array (N, H, W), (N, H, W, C) or (N, C, H, W), called images, arr_0 or x
    or the only one of such dimensions, and maybe labels from 0, called labels, y or arr_1.

    Args:
        path: where they are.
        split: which pictures, None for all; without such folders all are training pictures.
        skip_bad: leave out what is damaged, or unlike the first, with one warning.

    Raises:
        ValueError: if there is nothing to read, or naming the first picture that cannot be used.
    """
    if path.is_file() and path.name.lower().endswith(".npz"):
        if split == "test":
            raise ValueError(f"{path} has no test pictures: an npz is one split, name another")
        return Samples(*read_npz(path))
    with ExitStack() as stack:
        found = _open(path, stack)
        chosen, classes = _choose(path, sorted(found), split)
        values, labels = _decode(path, found, chosen, skip_bad)
    return Samples(values, labels, classes)


def _open(path: Path, stack: ExitStack) -> dict[str, Open]:
    """Find every picture file: its name from path on, and how to open it."""
    if not path.exists():
        raise ValueError(f"there is no {path}")
    if not path.is_dir() and not path.name.lower().endswith(ARCHIVES):
        raise ValueError(f"{path} is no folder, {', '.join(ARCHIVES)} or .npz of pictures")
    try:
        found = dict(_files(path, stack))
    except Exception as error:  # an archive can be damaged in many ways
        raise ValueError(unreadable(path, error)) from error
    if not found:
        wanted = " ".join(SUFFIXES)
        raise ValueError(f"{path} has no pictures ({wanted}; links to folders are not followed)")
    return found


def _files(path: Path, stack: ExitStack) -> Iterator[tuple[str, Open]]:
    if path.is_dir():
        for file in path.rglob("*"):
            if (name := _name(file.relative_to(path).as_posix())) and not file.is_dir():
                yield name, partial(_open_file, file)
    elif path.name.lower().endswith(".zip"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        for info in archive.infolist():
            if (name := _name(info.filename.replace("\\", "/"))) and not info.is_dir():
                yield name, partial(archive.open, info)
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                if (name := _name(member.name)) and not member.isdir():
                    # kept while we are there: to come back is slow where the tar is compressed
                    held = tar.extractfile(member) if member.isfile() else None
                    content = held.read(min(member.size, LIMIT + 1)) if held else b""
                    yield name, partial(io.BytesIO, content)
            _see_end(tar)


def _open_file(file: Path) -> IO[bytes]:
    return file.open("rb")


def _name(raw: str) -> str:
    """The name of a member as a folder would have it; empty if it is hidden or no picture."""
    name = PurePosixPath(raw.lstrip("/"))
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return "" if hidden or name.suffix.lower() not in SUFFIXES else str(name)


def _see_end(tar: tarfile.TarFile) -> None:
    """See that a tar was not cut short, which tarfile forgives, and read on to any checksum."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("it is cut short")
    while tar.fileobj.read(1 << 20):
        pass


def _choose(
    path: Path, names: list[str], split: Split | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Label the names of a split (-1: outside the class folders) and name the classes.

    Classes are those of all splits, so that a label means the same in each.
    """
    places = _places(names)
    parts = {part for part, _ in places.values()} - {""}
    chosen = counted = names
    if split == "test" or (split == "train" and parts):
        wanted = ("train",) if split == "train" else HELD_BACK
        used = next((part for part in wanted if part in parts), None)
        if used is None:
            raise ValueError(
                f"{path} has no {split} pictures: put them into a folder {' or '.join(wanted)} at "
                "its top, or name another dataset that has them"
            )
        chosen = [name for name in names if places[name][0] == used]
        counted = [name for name in names if places[name][0]]
    classes = sorted({places[name][1] for name in counted} - {""})
    if len(classes) < 2 or not any(places[name][1] for name in chosen):
        return dict.fromkeys(chosen, 0), ()
    labels = {kind: label for label, kind in enumerate(classes)} | {"": -1}
    return {name: labels[places[name][1]] for name in chosen}, tuple(classes)


def _places(names: list[str]) -> dict[str, tuple[str, str]]:
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


def _decode(
    path: Path, found: Mapping[str, Open], chosen: Mapping[str, int], skip_bad: bool
) -> tuple[Tensor, Tensor]:
    """Put the chosen pictures into one tensor, with the labels of those that could be used."""
    values: NDArray[np.uint8] = np.empty((len(chosen), 0, 0, 0), np.uint8)
    kept: list[str] = []
    bad: dict[str, str] = {}
    for name, label in chosen.items():
        try:
            if label < 0:
                raise ValueError("lies outside the class folders")
            pixels = decode(found[name], values.shape[1])
            if not kept:
                values = np.empty((len(chosen), *pixels.shape), np.uint8)
            elif pixels.shape != values.shape[1:]:
                first = f"the first, {kept[0]}, is {size(values.shape[1:])}"
                raise ValueError(f"is {size(pixels.shape)} but {first}")
        except ValueError as error:
            if not skip_bad:
                cure = "mend or remove it, or leave such pictures out with skip_bad"
                raise ValueError(f"{path}: {name} {error}; {cure}") from error
            bad[name] = str(error)
        else:
            values[len(kept)] = pixels
            kept.append(name)
    if bad:
        listed = ", ".join(list(bad)[:3]) + (", …" if len(bad) > 3 else "")
        reason = next(iter(bad.values()))
        message = f"{path}: left out {len(bad)} of {len(chosen)} pictures, {listed}: {reason}"
        if not kept:
            raise ValueError(f"{message}; nothing is left")
        warnings.warn(message, stacklevel=3)
    return torch.from_numpy(values[: len(kept)]), torch.tensor([chosen[name] for name in kept])
