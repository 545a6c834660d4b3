"""Image files of a folder or an archive, by name.

Archives are never unpacked to disk; the names in them give the order and the labels only.
"""

import errno
import gzip
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ganatomy.data.pixels import LIMIT, check_packing, unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""Suffixes of images, in lower or upper case; of several frames the first is read."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")

IN_MEMORY = 2**28
"""Bytes of the images of a compressed tar that stay in memory; more go to a temporary file in
$TMPDIR, because going back in a compressed tar is slow."""

MEMBERS = 2_000_000
"""Largest number of files, of any kind, in a folder or an archive."""

EXPANDED, TIMES = 2**30, 100
"""Bytes that a compressed tar may expand to, or multiple of its own size if that is more."""

HEADER = 2**16
"""Bytes of the longest header in a tar, which holds little more than a name."""

UNSHOWN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control and formatting characters, which a terminal would obey and a file name may not hold."""

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Listing:
    """Files of a folder or an archive."""

    images: dict[str, Open]
    """functions that open the image files by name, with / between folders, sorted; characters of
    UNSHOWN are escaped as in Python, such as \\n"""
    others: tuple[str, ...]
    """names of other files, sorted, hidden ones included"""


def listing(path: Path, stack: ExitStack) -> Listing:
    """List the image files of a folder, .zip, .tar, .tar.gz or .tgz.

    Args:
        path: the folder or archive.
        stack: closes the archive at its end.

    Raises:
        ValueError: if there is nothing to read.
        OSError: if there is no space for the images of a compressed tar.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}")
    if not path.is_dir() and not (path.is_file() and path.name.lower().endswith(ARCHIVES)):
        raise ValueError(
            f"{path} is not a folder, {', '.join(ARCHIVES)}, .npz, .h5 or .parquet of images"
        )
    opens: dict[str, Open] = {}
    others: list[str] = []
    try:
        for count, (member, opened) in enumerate(_members(path, stack)):
            if count == MEMBERS:
                raise OverflowError(f"more than {MEMBERS:,} files")
            raw = UNSHOWN.sub(lambda sign: sign[0].encode("unicode_escape").decode(), member)
            if name := image_name(raw):
                opens[name] = opened
            else:
                others.append(raw)
    except Exception as error:  # damaged archives raise many kinds
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            space = f"no space left in {tempfile.gettempdir()} for the images of {path}"
            raise OSError(f"{space}; free some or set TMPDIR") from error
        raise ValueError(unreadable(path, error)) from error
    if not opens:
        wanted = " ".join(SUFFIXES)
        raise ValueError(f"{path} has no images ({wanted}; links to folders are not followed)")
    return Listing({name: opens[name] for name in sorted(opens)}, tuple(sorted(others)))


def _members(path: Path, stack: ExitStack) -> Iterator[tuple[str, Open]]:
    """Yield every file by its name relative to path."""
    if path.is_dir():
        for file in path.rglob("*"):
            if not file.is_dir():
                yield file.relative_to(path).as_posix(), partial(_open_file, file)
    elif path.name.lower().endswith(".zip"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename.replace("\\", "/"), partial(_open_member, archive, info)
    else:
        yield from _tar_members(path, stack)


def _tar_members(path: Path, stack: ExitStack) -> Iterator[tuple[str, Open]]:
    size = path.stat().st_size
    raw = stack.enter_context(path.open("rb"))
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    file: Any = raw
    held: IO[bytes] = raw
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
            if packed and image_name(member.name):
                file.seek(place)
                place = held.tell()
                held.write(file.read(size))
            yield member.name, partial(_part, held, place, size)
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


def image_name(raw: str) -> str:
    """Return the name of a member as in a folder; empty if it is hidden or not an image."""
    name = PurePosixPath(raw.lstrip("/"))
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return "" if hidden or name.suffix.lower() not in SUFFIXES else str(name)
