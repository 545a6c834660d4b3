"""Images in the rows of parquet files, as the library datasets of Hugging Face writes them."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ganatomy.data.arrays import IMAGES, LABELS, UnusableError, check_memory, library, whole
from ganatomy.data.layout import Layout, Place, role, split_notes
from ganatomy.data.listing import UNSHOWN, Listing, is_image_name
from ganatomy.data.members import MEMBERS, Open

ROWS = 64
"""Rows that are held in memory at a time."""

NUMBER = re.compile(r"[-_.]\d+[-_]of[-_]\d+.*$")
"""End of the name of a file among several, as in train-00000-of-00002-1a2b3c."""

BYTES = re.compile(r"(large_)?binary$|struct<(.*, )?bytes: (large_)?binary")
"""Types of columns that hold image files."""

LABEL = re.compile(r"u?int\d+$|bool$|(large_)?string$|dictionary<values=string")
"""Types of columns that hold labels."""


def parquet_files(path: Path) -> list[Path]:
    """Return a parquet file, or those of a folder without image files, sorted; else nothing."""
    if path.is_file():
        return [path] if path.name.lower().endswith(".parquet") else []
    found = []
    for file in path.rglob("*"):
        if is_image_name(file.name):  # where most folders end
            return []
        if file.suffix.lower() == ".parquet" and file.is_file():
            found.append(file)
    return sorted(found)


def read_parquet(path: Path, files: Sequence[Path]) -> tuple[Listing, Layout]:
    """List the rows of parquet files as images, with their splits and classes.

    A row holds the bytes of an image file, maybe with a label. The split is the word in the name
    of a file in a folder, or else in the name of its folder.

    Args:
        path: the folder or file.
        files: the parquet files.

    Raises:
        ValueError: if a file is damaged or has no images, or pyarrow is not installed.
    """
    images: dict[str, Open] = {}
    parts: dict[str, str] = {}
    labels: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    unread: dict[str, None] = {}
    rows = _Rows()
    for file in files:
        table = whole(file, partial(_open, file))
        names = names or table.classes
        unread |= dict.fromkeys(table.unread)
        inner = file.relative_to(path) if path.is_dir() else Path(file.name)
        folders = (NUMBER.sub("", file.stem), *inner.parts[-2::-1]) if path.is_dir() else ()
        part = next(filter(None, map(role, folders)), "")
        for row, label in enumerate(table.labels):
            name = f"{_shown(inner.as_posix())}/{row:08d}"
            images[name] = partial(rows.open, file, table.column, row)
            parts[name], labels[name] = part, label
    if not images:
        raise ValueError(f"{path} has no images, as its parquet files have no rows")
    order = sorted({x for x in labels.values() if x is not None}, key=lambda x: (str(type(x)), x))
    kinds = {label: _kind(label, names) for label in order}
    places = {name: Place(parts[name], kinds.get(labels[name], "")) for name in images}
    notes = split_notes(Counter(parts.values()))
    if unread:
        notes.append(f"columns that are not read: {_shown(', '.join(unread))}")
    return Listing(images, ()), Layout(places, tuple(notes), tuple(dict.fromkeys(kinds.values())))


def _kind(label: Any, names: Sequence[str]) -> str:
    """Return the name of the class of a label, a number or a name."""
    return _shown(names[label] if isinstance(label, int) and label < len(names) else str(label))


def _shown(text: str) -> str:
    return UNSHOWN.sub("?", text)


@dataclass(frozen=True)
class _Table:
    """Columns of a parquet file."""

    column: str
    """of images"""
    labels: Sequence[Any]
    """label of each row, a number from 0 or a name; None without"""
    classes: tuple[str, ...]
    """names of the labels that are numbers"""
    unread: tuple[str, ...]
    """other columns"""


def _open(path: Path) -> _Table:
    with library("pyarrow.parquet", path).ParquetFile(path) as file:
        about, schema = file.metadata, file.schema_arrow
        if about.num_rows > MEMBERS:
            raise OverflowError(f"more than {MEMBERS:,} rows")
        for group in map(about.row_group, range(about.num_row_groups)):
            columns = map(group.column, range(group.num_columns))
            check_memory(sum(column.total_uncompressed_size for column in columns))
        types = {name: str(schema.field(name).type) for name in schema.names}
        held = [name for name, kind in types.items() if BYTES.match(kind)]
        if not held:
            listed = ", ".join(f"{name} {kind}"[:40] for name, kind in types.items()) or "none"
            raise UnusableError(
                f"{path}: no column has image files as bytes; there are {_shown(listed)[:160]}"
            )
        column = next((name for name in IMAGES if name in held), held[0])
        label = next((name for name in LABELS if LABEL.match(types.get(name, ""))), "")
        found = (
            file.read(columns=[label]).column(0).to_pylist() if label else [None] * about.num_rows
        )
        labels = [None if x == "" or (isinstance(x, int) and x < 0) else x for x in found]
        unread = tuple(name for name in types if name not in (column, label))
        return _Table(column, labels, _classes(schema.metadata or {}, label), unread)


def _classes(metadata: Mapping[bytes, bytes], label: str) -> tuple[str, ...]:
    """Return the names of classes that the library datasets writes."""
    with suppress(Exception):  # the text may be of any form
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    return ()


@dataclass
class _Rows:
    """Reader of rows, which are cheap in order; a batch of one file is in memory."""

    path: Path | None = None
    batches: Iterator[list[Any]] = field(default_factory=lambda: iter(()))
    held: list[Any] = field(default_factory=list)
    first: int = 0
    """row of the first that is held"""

    def open(self, path: Path, column: str, row: int) -> IO[bytes]:
        """Open the image file of a row."""
        if path != self.path or row < self.first:
            self.path, self.batches, self.held, self.first = path, _batches(path, column), [], 0
        while row >= self.first + len(self.held):
            self.first += len(self.held)
            self.held = next(self.batches)
        value = self.held[row - self.first]
        return BytesIO((value.get("bytes") if isinstance(value, dict) else value) or b"")


def _batches(path: Path, column: str) -> Iterator[list[Any]]:
    options = {"pre_buffer": False, "buffer_size": 2**20}  # not a whole column at once
    with library("pyarrow.parquet", path).ParquetFile(path, **options) as file:
        for batch in file.iter_batches(ROWS, columns=[column], use_threads=False):
            yield batch.column(0).to_pylist()
