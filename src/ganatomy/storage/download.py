"""Downloads with checksums, mirrors and an offline switch, by pooch."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

CHUNK = 1 << 16
"""Bytes read at a time."""


def offline() -> bool:
    """Return whether $GANATOMY_OFFLINE forbids downloads."""
    return os.environ.get("GANATOMY_OFFLINE", "") not in ("", "0")


def fetch(urls: str | Sequence[str], path: str | Path, checksum: str) -> None:
    """Download a file, unless it is there with this checksum.

    The file appears complete or not at all. Processes that need the same file wait for one another.

    Args:
        urls: http or https addresses of the file: the first, then its mirrors.
        path: place of the file; a file with another checksum is replaced.
        checksum: "sha256:" or "md5:" and the digest in lower-case hexadecimal.

    Raises:
        OSError: if no address has the file, naming each with the reason; if it is absent and
            GANATOMY_OFFLINE forbids downloads.
    """
    import pooch  # 0.2 seconds

    path, urls = Path(path), [urls] if isinstance(urls, str) else urls
    kind, _, digest = checksum.partition(":")

    def exists() -> bool:
        return path.is_file() and pooch.file_hash(str(path), kind) == digest

    if exists():
        return
    if offline():
        raise OSError(
            f"GANATOMY_OFFLINE is set, so {path.name} was not downloaded; unset it, or set it to "
            "0, to allow downloads"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if exists():  # another process downloaded it
            return
        folder = path.with_name(f".{path.name}.part")
        try:
            _retrieve(urls, folder / path.name, checksum)
            (folder / path.name).replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _retrieve(urls: Sequence[str], path: Path, checksum: str) -> None:
    """Download a file from the first address that has it."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=CHUNK)
    failures = []
    for url in urls:
        try:
            pooch.retrieve(url, checksum, path.name, path.parent, downloader=download)
        except (OSError, ValueError) as error:  # ValueError: wrong checksum
            failures.append(f"{url}: {error}")
        else:
            return
    raise OSError(" ".join(f"cannot download {'; '.join(failures)}".split()))
