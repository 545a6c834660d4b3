"""A folder and its copy on another machine: what changes here, as something to send and do there.

The copy can be resumed from at any time, also if what is sent never comes or is done by half: rows
are there before the checkpoint that needs them, and a checkpoint is there before the one that it
replaces is gone.
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
    """What to do to a copy so that it is what the folder is."""

    written: Mapping[str, tuple[int, bytes]]
    """file -> a position and what it holds from there on; what is before it stays"""
    gone: tuple[str, ...]
    """files that are no more"""


class Sent(NamedTuple):
    """What the copy has of a file."""

    stamp: tuple[int, int, int]
    """inode, size and time when it was read; while they are the same, it need not be read again"""
    length: int
    digest: bytes


def changes(
    folder: Path, sent: Mapping[str, Sent], ended: bool = False
) -> tuple[Changes, dict[str, Sent]]:
    """Compare a folder, which others may be writing to, with what its copy has.

    Args:
        folder: what to look at; files whose name starts with a dot are not.
        sent: what this function returned the last time; empty for a copy that is empty.
        ended: nobody writes any longer, so look at every file, whatever its stamp.

    Returns:
        What has changed, and what the copy has once that is done.
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
    # what took the place of a file that has just gone may not be listed: then remove nothing yet
    gone = () if vanished else tuple(name for name in missing if name not in listed)
    return Changes(written, gone), {name: has[name] for name in has if name not in gone}


def apply(folder: Path, found: Changes) -> bool:
    """Do to a copy what was found in the folder; return whether a checkpoint has come."""
    for name in sorted(found.written, key=_vouches):
        start, content = found.written[name]
        before = (folder / name).read_bytes()[:start] if start else b""
        write_atomic(folder / name, before + content)
    for name in found.gone:
        (folder / name).unlink(missing_ok=True)
    return any(map(_vouches, found.written))


def _names(folder: Path) -> list[str]:
    """List files, checkpoints first: rows that are read later reach at least as far as these."""
    files = [Path(at, name) for at, _, names in os.walk(folder) for name in names]
    shown = [file.relative_to(folder).as_posix() for file in files if file.name[0] != "."]
    return sorted(shown, key=lambda name: (not _vouches(name), name))


def _vouches(name: str) -> bool:
    """Whether a file says of the others that they reach as far as it does."""
    return name.endswith(".pt")


def _read(file: Path, sent: Sent | None) -> tuple[tuple[int, int, int], bytes | None]:
    """Read a file unless its stamp is as it was; of rows, only whole ones."""
    found = file.stat()
    stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
    if sent is not None and sent.stamp == stamp:
        return stamp, None
    content = file.read_bytes()
    if file.suffix == ".jsonl":
        content = content[: content.rfind(b"\n") + 1]
    return stamp, content
