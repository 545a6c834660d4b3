"""Image files of a folder or an archive, by name.

A file is an image if its suffix says so, or if it has no suffix and its content is one. What looks
like an image and cannot be read is listed too, so that it is counted and named.
"""

import errno
import posixpath
import re
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from ganatomy.data.members import HEAD, Member, Open, list_members
from ganatomy.data.pixels import LIMIT, header, unreadable

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif",
)  # fmt: skip
"""Suffixes of images, in lower or upper case; of several frames the first is read."""

UNSUPPORTED = (
    ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".jpf", ".tga", ".exr", ".hdr", ".psd", ".dng",
    ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf",
)  # fmt: skip
"""Suffixes of images in formats that are not read."""

MAGIC = re.compile(
    rb"\x89PNG|\xff\xd8\xff|BM|RIFF....WEBP|GIF8|II\*\0|MM\0\*|P[1-6]\s|....ftypavi[fs]", re.DOTALL
)
"""First bytes of image files; of other files too, so that a match is looked at more closely."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")

UNSHOWN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control and formatting characters, which a terminal would obey and a file name may not hold."""


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
    found = _Found()
    try:
        for member in list_members(path, stack, _may_be_image):
            found.add(member)
    except Exception as error:  # damaged archives raise many kinds
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            space = f"no space left in {tempfile.gettempdir()} for the images of {path}"
            raise OSError(f"{space}; free some or set TMPDIR") from error
        raise ValueError(unreadable(path, error)) from error
    outside = [name for name in found.images if ".." in PurePosixPath(name).parts]
    for names, how in ((found.repeated, "repeat an earlier one"), (outside, "lead out of it")):
        if names:
            raise ValueError(
                f"{path}: the names of {len(names):,} images {how}, first {names[0]}; rename them "
                "and pack the archive again"
            )
    found.add_links()
    if not found.images:
        wanted = " ".join(SUFFIXES)
        raise ValueError(f"{path} has no images ({wanted}, or any of these without a suffix)")
    return Listing(dict(sorted(found.images.items())), tuple(sorted(found.others)))


@dataclass(frozen=True)
class _Found:
    """Files that have been listed so far."""

    images: dict[str, Open] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    """links without the suffix of an image, and their targets"""
    repeated: list[str] = field(default_factory=list)
    """names of images that several members have"""

    def add(self, member: Member) -> None:
        """Sort a file into one of the kinds."""
        raw = _shown(member.name)
        name = PurePosixPath(raw.lstrip("/"))
        suffix = name.suffix.lower()
        if is_hidden(name):
            self.others.append(raw)
        elif suffix in SUFFIXES:
            self._add_image(str(name), member.opened)
        elif suffix in UNSUPPORTED:
            reason = f"{suffix} is not supported; convert it to PNG"
            self._add_image(str(name), partial(_refuse, reason))
        elif member.link:
            self.links[str(name)] = _shown(member.link)
        elif not (form := _sniff(member.opened)):
            self.others.append(raw)
        elif not suffix:
            self._add_image(str(name), member.opened)
        else:
            reason = f"it is a {form} whose name ends in {suffix}; rename it"
            self._add_image(str(name), partial(_refuse, reason))

    def _add_image(self, name: str, opened: Open) -> None:
        if name in self.images:
            self.repeated.append(name)
        self.images[name] = opened

    def add_links(self) -> None:
        """Count links to folders, and to what is not there, as images that cannot be read."""
        files = {*self.images, *self.others}
        for name, link in self.links.items():
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
            if target in files or PurePosixPath(name).suffix:
                self.others.append(name)
            else:
                reason = f"it is a link to {link}, which is not followed; put the files there"
                self.images[name] = partial(_refuse, reason)


def is_hidden(name: PurePosixPath) -> bool:
    """Whether a file or one of its folders is hidden, or is one of macOS's companions of files."""
    hidden = (part.startswith(".") and part != ".." for part in name.parts)
    return any(hidden) or "__MACOSX" in name.parts


def is_image_name(name: str) -> bool:
    """Whether the suffix of a file that is not hidden says that it is an image."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(PurePosixPath(name))


def _may_be_image(name: str, head: bytes) -> bool:
    return name.lower().endswith(SUFFIXES) or MAGIC.match(head) is not None


def _shown(name: str) -> str:
    return UNSHOWN.sub(lambda sign: sign[0].encode("unicode_escape").decode(), name)


def _sniff(opened: Open) -> str:
    """Return the format of an image file, by its content; empty if it is another file."""
    with suppress(Exception), opened() as file:
        head = file.read(HEAD)
        if MAGIC.match(head) and (found := header(head + file.read(LIMIT))):
            return found[0]
    return ""


def _refuse(reason: str) -> IO[bytes]:
    raise ValueError(reason)
