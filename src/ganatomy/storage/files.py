"""Atomic file writes."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write a file completely or not at all: a temporary file next to it, synced, then renamed.

    Raises:
        OSError: if it cannot be written; an earlier file of that name is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def write_folder(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a new folder of files completely or not at all, under a temporary name at first.

    Raises:
        ValueError: if there is something in the folder already, or it is a file.
        OSError: if it cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise ValueError(f"{path} is not an empty folder; remove it, or use another --out")
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed process
    temporary.mkdir(parents=True)
    try:
        for name, content in files:
            (temporary / name).write_bytes(content)
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.absolute().parent)


def sync_folder(path: Path) -> None:
    """Sync a folder's entries to disk, on systems that support it."""
    if sys.platform != "win32":
        folder = os.open(path, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
