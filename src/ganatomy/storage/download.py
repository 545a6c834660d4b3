"""Downloads: asked for, checked, continued where they were cut, and whole or not at all."""

import hashlib
import os
import urllib.request
from collections.abc import Sequence
from functools import partial as bind
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from filelock import FileLock
from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ganatomy.storage.files import sync_folder

LIMIT = 2_000_000_000
"""Bytes that a download may have, unless its caller says otherwise."""

TIMEOUT = 30.0
"""Seconds that a server may be silent."""

BLOCK = 1 << 16
"""Bytes that are read at a time."""


def fetch(urls: str | Sequence[str], path: Path, checksum: str, limit: int = LIMIT) -> None:
    """Download a file, unless it is there; continue what an earlier call could not finish.

    It grows in a hidden partial file beside its place, .NAME.part, and is renamed when it is
    whole. Processes that want the same file wait for one another.

    Args:
        urls: where it is, https or http; all but the first are mirrors.
        path: where it shall be; a file of another checksum is replaced.
        checksum: "sha256:" or "md5:" and the digest in lower-case hexadecimal.
        limit: bytes that it may have.

    Raises:
        OSError: if it cannot be had from any of them, naming each with the reason; if it is not
            there and GANATOMY_OFFLINE forbids downloads.
        ValueError: for another kind of address or checksum.
    """
    urls, partial = [urls] if isinstance(urls, str) else urls, path.with_name(f".{path.name}.part")
    for url in urls:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"only https and http can be downloaded from, not {url}")
    if _has(path, checksum):
        return
    if os.environ.get("GANATOMY_OFFLINE", "") not in ("", "0"):
        raise OSError(
            f"GANATOMY_OFFLINE is set, so {path.name} was not downloaded; unset it, or set it to "
            "0, to allow downloads"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if _has(path, checksum):  # another process was quicker
            return
        failures = []
        for url in urls:
            try:
                if not _has(partial, checksum):  # else it was stopped just before the renaming
                    _download(url, partial, limit)
                if _has(partial, checksum):
                    break
                partial.unlink()
                failures.append(f"{url} gave what has not {checksum}")
            except (OSError, HTTPException) as error:
                failures.append(f"{url}: {str(error) or type(error).__name__}")
        else:
            raise OSError(" ".join(f"cannot download {'; '.join(failures)}".split()))
        with partial.open("ab") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)


def _has(path: Path, checksum: str) -> bool:
    """Whether there is a file, and it has that checksum."""
    kind, _, digest = checksum.partition(":")
    if kind not in ("sha256", "md5"):
        raise ValueError(f"checksum must begin with sha256: or md5:, not {checksum}")
    if not path.is_file():
        return False
    with path.open("rb") as file:  # of an md5, some systems must be told that it guards no secret
        new = bind(hashlib.new, kind, usedforsecurity=False)
        return hashlib.file_digest(file, new).hexdigest() == digest


def _download(url: str, partial: Path, limit: int) -> None:
    """Append to a partial file what it lacks, or write it anew if the server sends it all."""
    have = partial.stat().st_size if partial.exists() else 0
    asked = {"User-Agent": "ganatomy"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = _opener().open(urllib.request.Request(url, headers=asked), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing follows, so what is there is another file's
            partial.unlink()
            return _download(url, partial, limit)
        raise
    console = get_console()  # on which there may be a bar already
    console = console if console.is_terminal else Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()
    speed, silent = TransferSpeedColumn(), not console.is_terminal
    with (
        answer,
        partial.open("ab") as file,
        Progress(*columns, speed, console=console, transient=True, disable=silent) as bar,
    ):
        follows = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status != 206 or not follows:
            have = file.truncate(0)
        total = None if answer.length is None else have + answer.length
        task = bar.add_task(url.rpartition("/")[2], total=total, completed=have)
        while max(have, total or 0) <= limit and (block := answer.read(BLOCK)):
            have += file.write(block)
            bar.update(task, completed=have)
    if max(have, total or 0) > limit:
        partial.unlink()
        raise OSError(f"it has more than {limit:,} bytes")
    if have < (total or 0):  # http.client does not tell
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes; try again")


def _opener() -> urllib.request.OpenerDirector:
    """Open http and https, directly or by a proxy, and whatever they redirect to of these two."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener
