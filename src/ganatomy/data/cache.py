"""Cache of decoded images, which are mapped from a file and need not fit into memory.

It has a folder for each content and policy, in images/ of the user's cache: values.npy, labels.npy
and about.json. A folder is written under a temporary name and renamed when it is complete.
"""

import errno
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ganatomy.data.decoding import Decoded, Source, decode_all, usable
from ganatomy.data.pixels import LIMIT
from ganatomy.data.samples import Samples
from ganatomy.data.shape import Shape
from ganatomy.storage import checksums
from ganatomy.storage.cache import cache_root
from ganatomy.storage.files import write_atomic

LARGE = 2000
"""Smallest number of images that are cached; fewer are decoded faster than looked up."""

FORMAT = 4
"""Version of the files and of the policy that makes them; part of the key."""

Rows = Iterator[tuple[int, NDArray[np.uint8]]]
"""Label and pixels of each image, from decoding.usable."""


def collect(source: Source, shape: Shape | None, skip_bad: bool, key: str = "") -> Decoded:
    """Decode a source, a large one through the cache.

    Args:
        source: the images.
        shape: (C, H, W) that images are cropped and resized to; None keeps them.
        skip_bad: skip unusable images.
        key: key of the content and the policy, if it is known.

    Raises:
        ValueError: for the first unusable image; see decoding.usable.
        OSError: if the cache cannot be written.
    """
    if len(source.labels) < LARGE:
        return decode_all(source, shape, skip_bad)
    key = key or source_key(source, shape, skip_bad)
    return recall(key) or _build(key, source, shape, skip_bad)


def archive_key(path: Path, *policy: object) -> str:
    """Return the key of an archive's bytes and the policy that images are made by."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return _key(content, *policy)


def source_key(source: Source, *policy: object) -> str:
    """Return the key of a source's images, their names and bytes, and a policy."""
    sha = hashlib.sha256()
    for name, label in source.labels.items():
        content = ""
        with suppress(Exception), source.files[name]() as file:  # decoding reports the error
            content = hashlib.sha256(file.read(LIMIT + 1)).hexdigest()
        sha.update(json.dumps([name, label, content]).encode())
    return _key(sha.hexdigest(), source.classes, source.convert, source.notes, *policy)


def _key(*parts: object) -> str:
    # decoders of other versions of Pillow round differently
    text = json.dumps([FORMAT, PIL.__version__, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def recall(key: str) -> Decoded | None:
    """Open the images of a key; None if they are absent or damaged."""
    folder = _root() / key
    try:
        about = checksums.decode_row((folder / "about.json").read_bytes().rstrip(b"\n"))
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        # copy on write, because torch warns of read-only arrays
        values = np.load(folder / "values.npy", mmap_mode="c", allow_pickle=False)
        shape, length = (about["count"], *about["shape"]), (folder / "values.npy").stat().st_size
        fits = values.shape == shape and values.dtype == np.uint8 and len(shape) == 4
        fits = fits and labels.shape == shape[:1] and labels.dtype == np.int64
        classes = tuple(map(str, about["classes"]))
        known = 0 <= labels.min() <= labels.max() < max(1, len(classes))
        if not fits or not known or values.offset + values.nbytes != length:
            return None
        if about["sha256"] != _digests(folder):
            return None
        assert isinstance(values.base, mmap.mmap)
        found = torch.from_numpy(values), torch.from_numpy(labels)
        samples = Samples(*found, classes, values.base)
        return Decoded(samples, dict(about["left_out"]), tuple(map(str, about["notes"])))
    except Exception:  # the files may be of any origin
        return None


def _root() -> Path:
    return cache_root() / "images"


def _build(key: str, source: Source, shape: Shape | None, skip_bad: bool) -> Decoded:
    """Decode into a folder of the cache, and open it."""
    root, left_out = _root(), dict[str, str]()
    with closing(usable(source, shape, skip_bad, left_out)) as rows:
        first = next(rows)
        needed = len(source.labels) * first[1].size
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{key}.lock"):
                if recall(key) is None:  # else another process has built it
                    _tidy(root, key)
                    _write(root, key, source, chain([first], rows), needed, left_out)
            made = recall(key)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "no space left in" if full else f"cannot write ({error.strerror or error})"
            fix = "free some or set XDG_CACHE_HOME to another folder"
            raise OSError(f"{what} {root}: needs about {needed / 1e9:.2g} GB; {fix}") from error
    assert made is not None, f"{root / key} was changed by another program"
    return made


def _tidy(root: Path, key: str) -> None:
    """Remove unfinished folders of killed processes; the caller holds the lock of key."""
    for left in root.glob(".*.tmp"):
        if left.stem == f".{key}":
            shutil.rmtree(left)
            continue
        with suppress(Timeout), FileLock(left.with_suffix(".lock"), timeout=0):
            shutil.rmtree(left)


def _write(
    root: Path, key: str, source: Source, rows: Rows, needed: int, left_out: dict[str, str]
) -> None:
    """Write a cache folder; left_out is complete once the rows have ended."""
    if shutil.disk_usage(root).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    folder = root / f".{key}.tmp"
    folder.mkdir()
    try:
        labels, shape = _write_values(folder / "values.npy", rows, len(source.labels))
        np.save(folder / "labels.npy", np.array(labels, np.int64))
        about = {
            "source": source.name,
            "count": len(labels),
            "shape": shape,
            "classes": source.classes,
            "left_out": left_out,
            "notes": source.notes,
            "sha256": _digests(folder),
        }
        write_atomic(folder / "about.json", checksums.encode_row(about))
        shutil.rmtree(root / key, ignore_errors=True)  # a damaged one
        folder.replace(root / key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _digests(folder: Path) -> list[str]:
    """Return the SHA-256 of both arrays; it takes about two seconds per gigabyte."""
    found = []
    for name in ("labels.npy", "values.npy"):
        with (folder / name).open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def _write_values(path: Path, rows: Rows, most: int) -> tuple[list[int], Shape]:
    """Write rows to an npy file, not to a memory map, where a full disk would end the process."""
    labels: list[int] = []
    shape: Shape = ()
    with path.open("wb") as file:
        for label, pixels in rows:
            if not labels:
                shape = pixels.shape
                begin = _write_header(file, (most, *shape))
            file.write(pixels.tobytes())
            labels.append(label)
        file.seek(0)
        # numpy pads headers, so that the first dimension can change
        assert _write_header(file, (len(labels), *shape)) == begin
        file.flush()
        os.fsync(file.fileno())
    return labels, shape


def _write_header(file: IO[bytes], shape: Shape) -> int:
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.tell()
