"""Files of a folder or an archive, whatever they hold, each with a function that opens it.

Archives are never unpacked to disk.
"""

import gzip
import itertools
import os
import re
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ganatomy.data.pixels import LIMIT, check_packing

HEAD = 16
"""Number of first bytes of a file that tell whether it is an image."""

IN_MEMORY = 2**28
"""Bytes of the images of a compressed tar that stay in memory; more go to a temporary file in
$TMPDIR, because going back in a compressed tar is slow."""

MEMBERS = 2_000_000
"""Largest number of files, of any kind, in a folder or an archive."""

EXPANDED, TIMES = 2**30, 100
"""Bytes that a compressed tar may expand to, or multiple of its own size if that is more."""

HEADER = 2**16
"""Bytes of the longest header in a tar, which holds little more than a name."""

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Member:
    """A file of a folder or an archive."""

    name: str
    """relative to the folder or archive, as it is written there"""
    opened: Open
    link: str = ""
    """target of a link that is not followed"""


def list_members(
    path: Path, stack: ExitStack, wanted: Callable[[str, bytes], bool]
) -> Iterator[Member]:
    """Yield every file.

    Args:
        path: the folder or archive.
        stack: closes the archive at its end.
        wanted: whether a file of this name and these HEAD first bytes will be opened; of others
            only these bytes can be read.
    """
    if path.is_dir():
        found = _folder_members(path)
    elif path.name.lower().endswith(".zip"):
        found = _zip_members(stack.enter_context(zipfile.ZipFile(path)))
    else:
        found = _tar_members(path, stack, wanted)
    for count, member in enumerate(found):
        if count == MEMBERS:
            raise OverflowError(f"more than {MEMBERS:,} files")
        yield member


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if not info.is_dir():
            opened = partial(_open_member, archive, info)
            link = _read_link(opened) if stat.S_ISLNK(info.external_attr >> 16) else ""
            yield Member(info.filename.replace("\\", "/"), opened, link)


def _read_link(opened: Open) -> str:
    with suppress(Exception), opened() as file:
        return os.fsdecode(file.read(HEADER))
    return "?"


def _folder_members(path: Path) -> Iterator[Member]:
    """Yield the files of a folder and of those that it links to, in each as often as it is linked.

    A link to a folder that it lies in is not followed.
    """
    inside: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    for count in itertools.count():
        if not inside:
            return
        if count == MEMBERS:
            raise OverflowError(f"more than {MEMBERS:,} folders")
        folder, above = inside.pop()
        place = (path / folder).stat()
        here = (place.st_dev, place.st_ino)
        if here in above:
            continue
        with os.scandir(path / folder) as entries:
            for entry in entries:
                name, file, link = f"{folder}{entry.name}", Path(entry.path), entry.is_symlink()
                if file.is_dir() if link else entry.is_dir():
                    if not (link and entry.name.startswith(".")):
                        inside.append((f"{name}/", above | {here}))
                else:
                    target = str(file.readlink()) if link and not file.exists() else ""
                    yield Member(name, partial(_open_file, file), target)


def _tar_members(
    path: Path, stack: ExitStack, wanted: Callable[[str, bytes], bool]
) -> Iterator[Member]:
    size = path.stat().st_size
    raw = stack.enter_context(path.open("rb"))
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    file: Any = raw
    held: IO[bytes] = stack.enter_context(path.open("rb"))
    if packed:
        file = stack.enter_context(gzip.open(raw))  # noqa: SIM115
        held = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
    headers: Any = _Headers(file, max(EXPANDED, TIMES * size) if packed else size)
    with tarfile.open(fileobj=headers, mode="r:") as tar:
        for member in iter(tar.next, None):
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            if member.isdir():
                continue
            if member.size < 0:
                raise ValueError(f"a file of {member.size:,} bytes")
            whole = member.isfile() and not member.issparse()
            size, place = min(member.size, LIMIT + 1) if whole else 0, member.offset_data
            if packed:
                file.seek(place)
                place, head = held.tell(), file.read(min(size, HEAD))
                if not wanted(member.name, head):
                    size = len(head)
                held.write(head + file.read(size - len(head)))
            yield Member(
                member.name, partial(_part, held, place, size), member.issym() * member.linkname
            )
        headers.check_end(tar.offset)


class _Headers:
    """File from which tarfile reads headers: it does not go back, nor on without end."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most = file, most
        self.tell = file.tell

    def seek(self, place: int) -> None:
        if place < self.tell():  # a negative size, which tarfile would follow forever
            raise ValueError("a file in it ends before it begins")
        self._see(place)
        self.file.seek(place)

    def read(self, count: int) -> bytes:
        self._see(self.tell())
        if not 0 <= count <= HEADER:
            raise OverflowError(f"a header of {count:,} bytes")
        content = self.file.read(count)
        if count > tarfile.BLOCKSIZE and re.search(rb"\d{100}", content):
            raise ValueError("a header of digits alone")  # on which tarfile's search takes minutes
        return content

    def check_end(self, place: int) -> None:
        """Check that a tar is complete, which tarfile does not, and read on to the checksum."""
        self.file.seek(place)
        if self.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise EOFError("it is cut short")
        while self.read(HEADER):
            pass

    def _see(self, place: int) -> None:
        if place > self.most:
            raise OverflowError(f"it expands to more than {self.most:,} bytes")


def _open_file(file: Path) -> IO[bytes]:
    if not file.is_file():  # opening a FIFO would wait for a writer
        raise OSError("it is not a regular file")
    return file.open("rb")


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    check_packing(info)
    return archive.open(info)


def _part(file: IO[bytes], place: int, size: int) -> IO[bytes]:
    file.seek(place)
    return BytesIO(file.read(size))
