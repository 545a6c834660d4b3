"""Which picture files a folder or an archive holds, and how each is opened.

Archives are never unpacked into files of their own; names in them only order and label.
"""

import errno
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from ganatomy.data.pixels import LIMIT, unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""How the names of pictures end, in either case; of several frames the first is taken."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")

IN_MEMORY = 2**28
"""Bytes of the pictures of a compressed tar that are held in memory; more go to a nameless file in
$TMPDIR, for to come back to a picture is slow where the tar is compressed."""

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Listing:
    """What was found."""

    pictures: dict[str, Open]
    """the name of each picture file, with / between folders, in the order of names"""
    others: tuple[str, ...]
    """names of other files, sorted; hidden ones are among them"""


def listing(path: Path, stack: ExitStack) -> Listing:
    """Find every picture file of a folder, .zip, .tar, .tar.gz or .tgz.

    Args:
        path: where they are.
        stack: what keeps the archive open.

    Raises:
        ValueError: if there is nothing to read.
        OSError: if there is no space for a compressed tar.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}")
    if not path.is_dir() and not path.name.lower().endswith(ARCHIVES):
        raise ValueError(f"{path} is no folder, {', '.join(ARCHIVES)} or .npz of pictures")
    opens: dict[str, Open] = {}
    others: list[str] = []
    try:
        for raw, opened in _members(path, stack):
            if name := picture_name(raw):
                opens[name] = opened
            else:
                others.append(raw)
    except Exception as error:  # an archive can be damaged in many ways
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            space = f"no space left in {tempfile.gettempdir()} for the pictures of {path}"
            raise OSError(f"{space}; free some or set TMPDIR") from error
        raise ValueError(unreadable(path, error)) from error
    if not opens:
        wanted = " ".join(SUFFIXES)
        raise ValueError(f"{path} has no pictures ({wanted}; links to folders are not followed)")
    return Listing({name: opens[name] for name in sorted(opens)}, tuple(sorted(others)))


def _members(path: Path, stack: ExitStack) -> Iterator[tuple[str, Open]]:
    """Every file, by its name from path on."""
    if path.is_dir():
        for file in path.rglob("*"):
            if not file.is_dir():
                yield file.relative_to(path).as_posix(), partial(_open_file, file)
    elif path.name.lower().endswith(".zip"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename.replace("\\", "/"), partial(archive.open, info)
    else:
        yield from _tar_members(path, stack)


def _tar_members(path: Path, stack: ExitStack) -> Iterator[tuple[str, Open]]:
    with tarfile.open(path) as tar:
        plain = isinstance(tar.fileobj, BufferedReader)
        held = path.open("rb") if plain else tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        stack.enter_context(held)
        for member in tar:
            if member.isdir():
                continue
            size = min(member.size, LIMIT + 1) if member.isfile() else 0
            place = member.offset_data
            if not plain and picture_name(member.name):
                content, place = tar.extractfile(member) if size else None, held.tell()
                held.write(content.read(size) if content else b"")
            yield member.name, partial(_part, held, place, size)
        _see_end(tar)


def _open_file(file: Path) -> IO[bytes]:
    return file.open("rb")


def _part(file: IO[bytes], place: int, size: int) -> IO[bytes]:
    file.seek(place)
    return BytesIO(file.read(size))


def picture_name(raw: str) -> str:
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
