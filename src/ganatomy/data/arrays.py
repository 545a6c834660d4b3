"""Images and labels in named arrays: npz and HDF5 files.

A name says what an array holds, and of which split: x_train, train_images, test/labels.
"""

import importlib
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from ganatomy.data.layout import role_of, selected, split_notes, words
from ganatomy.data.listing import UNSHOWN
from ganatomy.data.pixels import check_packing, memory, unreadable
from ganatomy.data.samples import Samples, Split

IMAGES = ("images", "image", "imgs", "img", "arr_0", "x", "data", "pixels")
LABELS = ("labels", "label", "y", "arr_1", "targets", "target")
"""Names of arrays, without the word of a split; the first that there is is used."""

HDF5 = (".h5", ".hdf5")

MOST_CLASSES = 2**16
"""Number of classes at most; more different labels are other numbers."""

MOST_ARRAYS = 10_000
"""Number of arrays at most in an HDF5 file."""

Array = NDArray[Any]
T = TypeVar("T")


class UnusableError(ValueError):
    """A file cannot be used though it is whole; the message says all."""


@dataclass(frozen=True)
class Entry:
    """An array of a file, which is read when it is needed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], Array]


@dataclass(frozen=True)
class Part:
    """Names of the arrays of one split."""

    images: str
    labels: str
    """empty without labels"""


def is_arrays(path: Path) -> bool:
    """Return whether a path is a file of arrays, by its name."""
    return path.is_file() and path.name.lower().endswith((".npz", *HDF5))


def read_arrays(path: Path, split: Split | None) -> tuple[dict[str, Samples], tuple[str, ...]]:
    """Read the images of a split by part: train, test, val, or "" for those of no split.

    Args:
        path: the file.
        split: split to read, None for all.

    Returns:
        Samples by part, whose labels have one meaning, and a sentence for each choice that could
        have been another and for arrays that are not read.

    Raises:
        ValueError: if the file is damaged, or its arrays are not such, with the fix.
    """
    with ExitStack() as stack:
        entries = whole(path, lambda: dict(_entries(path, stack)))
        parts = _parts(path, entries)
        chosen = selected(path, parts, split, "call arrays x_train and x_test")
        images = {
            part: _images(path, entries, parts[part].images) for part in parts if part in chosen
        }
        ids = {part: found for part in parts for found in _ids(path, entries, parts[part])}
    classes = np.unique(np.concatenate([*ids.values(), np.empty(0, np.int64)]))
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{path}: expected at most {MOST_CLASSES:,} different labels, got {len(classes):,}; "
            "remove the labels"
        )
    read = {names.images for names in parts.values()} | {parts[part].labels for part in ids}
    left = [f"{name} {entry.shape}" for name, entry in entries.items() if name not in read]
    notes = (f"arrays that are not read: {', '.join(left)}",) if left else ()
    sizes = {part: entries[names.images].shape[0] for part, names in parts.items()}
    samples = {part: _samples(images[part], ids.get(part), classes) for part in images}
    return samples, notes if split is None else (*split_notes(sizes), *notes)


def joined(path: Path, parts: Collection[Samples]) -> Samples:
    """Return the samples of several parts as one.

    Raises:
        ValueError: if their shapes differ.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"{path}: the splits have images of several shapes, {sorted(shapes)}")
    if len(parts) == 1:
        return next(iter(parts))
    values, labels = torch.cat([p.values for p in parts]), torch.cat([p.labels for p in parts])
    classes = min((part.classes for part in parts), key=len)  # none, if a part has none
    return Samples(values, labels if classes else labels * 0, classes)


def _samples(values: Tensor, ids: NDArray[np.int64] | None, classes: NDArray[np.int64]) -> Samples:
    if ids is None or len(classes) < 2:
        return Samples(values, torch.zeros(len(values), dtype=torch.int64))
    labels = torch.from_numpy(np.searchsorted(classes, ids))
    return Samples(values, labels, tuple(map(str, classes)))


def whole(path: Path, read: Callable[[], T]) -> T:
    """Call a function that reads from a file; a damaged one is a ValueError that names it."""
    try:
        return read()
    except UnusableError:
        raise
    except Exception as error:  # numpy, zipfile, zlib, h5py and pyarrow raise many kinds
        raise ValueError(unreadable(path, error)) from error


def _entries(path: Path, stack: ExitStack) -> Iterator[tuple[str, Entry]]:
    entries = _hdf5 if path.name.lower().endswith(HDF5) else _npz
    for name, entry in entries(path, stack):
        yield UNSHOWN.sub("?", name), entry


def _npz(path: Path, stack: ExitStack) -> Iterator[tuple[str, Entry]]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = archive.infolist()
    for member in members:
        check_packing(member)
    check_memory(sum(member.file_size for member in members))  # before any is read
    for member in members:
        if member.filename.endswith(".npy"):
            with archive.open(member) as file:
                one = npy.read_magic(file) == (1, 0)
                header = npy.read_array_header_1_0 if one else npy.read_array_header_2_0
                shape, _, dtype = header(file)
            read = partial(_read_npy, archive, member)
            yield member.filename.removesuffix(".npy"), Entry(shape, dtype, read)


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        return np.asarray(npy.read_array(file, allow_pickle=False))


def library(name: str, path: Path) -> Any:
    """Import a library of the extra formats that reads a file."""
    try:
        return importlib.import_module(name)
    except ImportError:
        install = "pip install 'ganatomy[formats]'"
        raise UnusableError(f"{path} needs {name.split('.')[0]}; run: {install}") from None


def _hdf5(path: Path, stack: ExitStack) -> Iterator[tuple[str, Entry]]:
    h5py = library("h5py", path)
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> bool | None:  # links are not followed
        if isinstance(item, h5py.Dataset):
            found[name] = item
        return len(found) > MOST_ARRAYS or None

    stack.enter_context(file := h5py.File(path, "r"))
    if file.visititems(visit):
        raise OverflowError(f"more than {MOST_ARRAYS:,} arrays")
    for name, item in found.items():
        yield name, Entry(item.shape or (), item.dtype, partial(_read_hdf5, item))


def _read_hdf5(item: Any) -> Array:
    if item.is_virtual or item.external:
        raise ValueError(f"{item.name} keeps its values in other files")
    check_memory(item.nbytes + np.prod(item.chunks or (), dtype=float) * item.dtype.itemsize)
    return np.asarray(item[()])


def check_memory(needed: float) -> None:
    """Check that arrays fit into memory, given their size in bytes."""
    if needed > memory():
        raise OverflowError(f"its arrays take {needed:,.0f} bytes, and memory has {memory():,}")


def _meaning(name: str) -> tuple[str, str]:
    """Return the split and the rest of the words of an array's name."""
    roles = {found for word in words(name) if (found := role_of(word))}
    rest = [word for word in words(name.split("/")[-1]) if word != "set" and not role_of(word)]
    return (roles.pop() if len(roles) == 1 else ""), "_".join(rest)


def _parts(path: Path, entries: Mapping[str, Entry]) -> dict[str, Part]:
    """Return the arrays of each split: by name, or those that have the dimensions of images."""
    names: dict[str, list[str]] = {}
    for name in entries:
        names.setdefault(_meaning(name)[0], []).append(name)
    deep = {part: [n for n in found if len(entries[n].shape) > 2] for part, found in names.items()}
    for choose, among in ((_named, deep), (_only, deep), (_named, names)):
        images = {part: choose(found, IMAGES, entries) for part, found in among.items()}
        if any(images.values()):
            return {
                part: Part(image, _named(names[part], LABELS, entries))
                for part, image in images.items()
                if image
            }
    shapes = ", ".join(f"{name} {entry.shape}" for name, entry in entries.items()) or "none"
    raise ValueError(f"{path}: which array holds the images? Name it images; there are {shapes}")


def _named(names: Sequence[str], known: Sequence[str], entries: Mapping[str, Entry]) -> str:
    """Return the name, of those given, that comes first among the known ones."""
    meanings = {_meaning(name)[1]: name for name in reversed(names)}
    return next((meanings[word] for word in known if word in meanings), "")


def _only(names: Sequence[str], known: Sequence[str], entries: Mapping[str, Entry]) -> str:
    """Return the name of the only array of 4 dimensions, or of 3 if there is none of 4."""
    for ndim in (4, 3):
        if fitting := [name for name in names if len(entries[name].shape) == ndim]:
            return fitting[0] if len(fitting) == 1 else ""
    return ""


def _ids(path: Path, entries: Mapping[str, Entry], part: Part) -> Iterator[NDArray[np.int64]]:
    """Yield the labels of a part, whole numbers (N,), if it has one label an image.

    They may have one column, a column for each class (one-hot), or the type of floats.
    """
    if not part.labels:
        return
    labels, n = whole(path, entries[part.labels].read), entries[part.images].shape[0]
    given = f"{labels.dtype} of shape {labels.shape}"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and ((labels == 0) | (labels == 1)).all():
        if not (labels.sum(1) == 1).all():  # several labels an image
            return
        labels = labels.argmax(1)
    numbers = labels.dtype.kind in "biuf" and labels.shape == (n,)
    if not numbers or not all(0 <= x < 2**53 and x == int(x) for x in np.unique(labels).tolist()):
        raise ValueError(
            f"{path}: {part.labels} is {given}; labels are one whole number from 0 for each of "
            f"{n:,} images, or one-hot; convert or remove them"
        )
    yield labels.astype(np.int64)


def _images(path: Path, entries: Mapping[str, Entry], name: str) -> Tensor:
    """Return an array of images, with channels first."""
    entry = entries[name]
    if entry.dtype.kind not in "biuf":
        raise ValueError(f"{path}: {name} is {entry.dtype}; save images as uint8 from 0 to 255")
    images = whole(path, entry.read)
    if images.dtype != np.uint8:
        raise ValueError(f"{path}: {name} is {_convert(name, images)}")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
        raise ValueError(
            f"{path}: {name} of shape {entry.shape} is not images (N, H, W), (N, H, W, C) "
            "or (N, C, H, W) of 1 or 3 channels"
        )
    return torch.from_numpy(np.ascontiguousarray(images))


def _convert(name: str, images: Array) -> str:
    """Describe an array that is not uint8, and how to convert it."""
    if not images.size:
        return f"{images.dtype}; save images as uint8 from 0 to 255"
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low + high):
        return f"{images.dtype} and holds NaN or infinity; leave such images out"
    how = "scale it to that first"
    if images.dtype.kind in "bf" and 0 <= low <= high <= 1:
        how = f'np.round({name} * 255.0).astype("uint8")'
    elif images.dtype.kind == "f" and -1 <= low <= high <= 1:
        how = f'np.round(({name} + 1) * 127.5).astype("uint8")'
    elif 0 <= low <= high <= 255:
        how = f'np.round({name}).astype("uint8")'
    return f"{images.dtype} from {low:g} to {high:g}; save it as uint8 from 0 to 255: {how}"
