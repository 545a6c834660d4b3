"""The user's cache: a folder for files that can be made again, each with its checksum."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from ganatomy.storage.files import write_atomic

DIGEST = hashlib.sha256().digest_size
"""Bytes of the checksum at the end of a file."""


def cache_root() -> Path:
    """Return the cache folder: `ganatomy` in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganatomy"


def cached(key: str, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return the numbers stored under a key, or compute and store them."""
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    file = cache_root() / "numbers" / f"{name}.json"
    if (content := read_cache(file)) is not None:
        stored: dict[str, float] = json.loads(content)
        return stored
    computed = compute()
    write_cache(file, json.dumps(computed).encode())
    return computed


def write_cache(path: Path, content: bytes) -> None:
    """Write a file with its checksum; a cache that cannot be written is not an error."""
    with contextlib.suppress(OSError):
        write_atomic(path, content + hashlib.sha256(content).digest())


def read_cache(path: Path) -> bytes | None:
    """Return the content that write_cache stored, or None if it is absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    content, digest = content[:-DIGEST], content[-DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None
