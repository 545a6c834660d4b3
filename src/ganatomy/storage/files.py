"""Files written whole or not at all, and where the user's cache is."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path


def cache_root() -> Path:
    """Return the folder for what ganatomy keeps between runs: $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganatomy"


def cached(key: str, make: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Read from the cache what was made under this key, or make it and keep it."""
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    file = cache_root() / "numbers" / f"{name}.json"
    if (content := kept(file)) is not None:
        known: dict[str, float] = json.loads(content)
        return known
    made = make()
    keep(file, json.dumps(made).encode())
    return made


def keep(path: Path, content: bytes) -> None:
    """Put a file into the cache, with its checksum; if it cannot be, that costs time alone."""
    with contextlib.suppress(OSError):
        write_atomic(path, content + hashlib.sha256(content).digest())


def kept(path: Path) -> bytes | None:
    """Return what keep has put there; None if there is nothing, or it is not whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    content, digest = content[:-32], content[-32:]
    return content if hashlib.sha256(content).digest() == digest else None


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary beside it, synced, then renamed."""
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
    """See that the names in a folder outlast a loss of power, where the system can."""
    if sys.platform != "win32":
        folder = os.open(path, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
