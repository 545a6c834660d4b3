"""Atomic file writes."""

import contextlib
import os
import sys
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


def sync_folder(path: Path) -> None:
    """Sync a folder's entries to disk, on systems that support it."""
    if sys.platform != "win32":
        folder = os.open(path, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
