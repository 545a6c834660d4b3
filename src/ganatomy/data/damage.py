"""Damage of image files that decoders let pass: wrong checksums, missing ends, runs of zeros.

A file system that loses a part of a file usually leaves zeros in its place. A decoder then shows
gray, black or smeared pixels without a word. Formats without compression or checksum, such as BMP,
cannot tell lost pixels from black ones.
"""

import math
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Literal

from PIL import Image

RUN = 32
"""Equal bytes that no encoder writes into compressed pixels of a small image."""

FLAT = {"JPEG": 3 / 16, "VP8 ": 1 / 32, "VP8L": 1 / 8}
"""Bits at most that an encoder spends on a pixel of an image of one color, times 1.4 and more."""

MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""A JPEG's marker; the others are part of the compressed pixels."""

LONE = (0x01, 0xD8)
"""Markers without a segment."""

SCAN, END, PROGRESSIVE = 0xDA, 0xD9, b"\xc2"
"""Markers of compressed pixels and of the end, and of a JPEG of several scans."""

CUT = "ends before its pixels do"
LOST = "has lost data, in whose place are equal bytes"


def damage(content: bytes, image: Image.Image) -> str:
    """Return the damage of an image file, in words that follow its name; empty if there is none.

    Args:
        content: the file.
        image: the image that Pillow has opened.
    """
    find = FINDERS.get(image.format or "")
    return find(content, math.prod(image.size)) if find else ""


def _png(content: bytes, _: int) -> str:
    """Check the checksum of every chunk, and that the last one is there."""
    place, kind = 8, b""
    while kind != b"IEND":
        kind, end = content[place + 4 : place + 8], place + 8 + _number(content, place, 4)
        if end + 4 > len(content):
            return CUT
        if zlib.crc32(content[place + 4 : end]) != _number(content, end, 4):
            return f"has a wrong checksum at byte {end:,}"
        place = end + 4
    return ""


def _jpeg(content: bytes, pixels: int) -> str:
    """Check that all scans and the end are there, and that no pixels are lost.

    Args:
        content: the file.
        pixels: their number.
    """
    place, progressive = 2, False
    lacking: dict[tuple[int, int], int] = {}  # low bits, by component and coefficient
    while found := MARKER.search(content, place):
        kind, place = found[1][0], found.end()
        if kind == END:
            return CUT if any(lacking.values()) else ""
        if kind in LONE:
            continue
        segment = content[place + 2 : place + _number(content, place, 2)]
        place += 2 + len(segment)
        progressive = progressive or found[1] == PROGRESSIVE
        if kind == SCAN:
            after = MARKER.search(content, place)
            if after is None:
                return CUT
            if after.end() - after.start() > RUN or _has_run(
                content[place : after.start()], pixels * FLAT["JPEG"]
            ):
                return LOST
            if progressive:
                first, last, bits = segment[-3:]
                coefficients = range(first, last + 1)
                lacking |= {(part, k): bits & 15 for part in segment[1:-3:2] for k in coefficients}
            place = after.start()
    return CUT


def _webp(content: bytes, pixels: int) -> str:
    """Check the size, and that no pixels are lost."""
    place, end = 12, 8 + _number(content, 4, 4, "little")
    if len(content) < end:
        return CUT
    while place + 8 <= end:
        kind, start = content[place : place + 4].decode("latin-1"), place + 8
        size = _number(content, place + 4, 4, "little")
        if kind in FLAT and _has_run(content[start : start + size], pixels * FLAT[kind]):
            return LOST
        place = start + (16 if kind == "ANMF" else size + size % 2)  # a frame holds chunks
    return ""


def _avif(content: bytes, _: int) -> str:
    """Check that the end is not zeros; an AVIF ends with compressed pixels."""
    return LOST if content.endswith(bytes(RUN)) else ""


def _has_run(part: bytes, bits: float) -> bool:
    """Whether compressed pixels hold more zeros in turn than RUN and these bits."""
    return bytes(RUN + int(bits / 8)) in part


def _number(content: bytes, place: int, size: int, order: Literal["big", "little"] = "big") -> int:
    return int.from_bytes(content[place : place + size], order)


FINDERS: Mapping[str, Callable[[bytes, int], str]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "WEBP": _webp,
    "AVIF": _avif,
}
