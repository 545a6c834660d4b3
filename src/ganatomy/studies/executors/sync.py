"""Synchronization of a folder with its copy on another machine, by changes that can be sent.

A run can be resumed from the copy at any time, even if changes are lost or only partly applied:
rows are written before the checkpoint that needs them, and a new checkpoint before the old one is
removed.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ganatomy.storage.files import write_atomic


@dataclass(frozen=True)
class Changes:
    """The changes that make a copy equal to its folder."""

    written: Mapping[str, tuple[int, bytes]]
    """file -> (offset, content from there on); the content before the offset stays"""
    gone: tuple[str, ...]
    """files to remove"""


class Sent(NamedTuple):
    """The state of a file in the copy."""

    stamp: tuple[int, int, int]
    """inode, size and modification time at the last read; an equal stamp means no change"""
    length: int
    digest: bytes


def changes(
    folder: Path, sent: Mapping[str, Sent], ended: bool = False
) -> tuple[Changes, dict[str, Sent]]:
    """Compare a folder, which other processes may write to, with the state of its copy.

    Args:
        folder: the folder; files whose name starts with a dot are left out.
        sent: the state that the last call returned; empty for an empty copy.
        ended: whether writing has ended; then every file is read, whatever its stamp.

    Returns:
        The changes, and the state of the copy once they are applied.
    """
    missing = [name for name in sent if not (folder / name).exists()]  # before files are listed
    listed = _names(folder)
    written: dict[str, tuple[int, bytes]] = {}
    has, vanished = dict(sent), False
    for name in listed:
        try:
            stamp, content = _read(folder / name, None if ended or name not in has else has[name])
        except FileNotFoundError:  # since it was listed
            vanished = True
            continue
        if content is None:
            continue
        length, digest = has[name][1:] if name in has else (0, b"")
        if hashlib.sha256(content[:length]).digest() != digest:
            length = 0
        has[name] = Sent(stamp, len(content), hashlib.sha256(content).digest())
        if has[name].digest != digest:
            written[name] = (length, content[length:])
    # the file that replaced a removed one may not be listed yet: then remove nothing
    gone = () if vanished else tuple(name for name in missing if name not in listed)
    return Changes(written, gone), {name: has[name] for name in has if name not in gone}


def apply(folder: Path, found: Changes) -> bool:
    """Apply changes to a copy; return whether they include a checkpoint."""
    for name in sorted(found.written, key=_is_checkpoint):
        start, content = found.written[name]
        before = (folder / name).read_bytes()[:start] if start else b""
        write_atomic(folder / name, before + content)
    for name in found.gone:
        (folder / name).unlink(missing_ok=True)
    return any(map(_is_checkpoint, found.written))


def _names(folder: Path) -> list[str]:
    """List files, checkpoints first: rows that are read later reach at least as far."""
    files = [Path(at, name) for at, _, names in os.walk(folder) for name in names]
    shown = [file.relative_to(folder).as_posix() for file in files if file.name[0] != "."]
    return sorted(shown, key=lambda name: (not _is_checkpoint(name), name))


def _is_checkpoint(name: str) -> bool:
    return name.endswith(".pt")


def _read(file: Path, sent: Sent | None) -> tuple[tuple[int, int, int], bytes | None]:
    """Read a file unless its stamp is unchanged; of a jsonl file, only whole rows."""
    found = file.stat()
    stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
    if sent is not None and sent.stamp == stamp:
        return stamp, None
    content = file.read_bytes()
    if file.suffix == ".jsonl":
        content = content[: content.rfind(b"\n") + 1]
    return stamp, content
