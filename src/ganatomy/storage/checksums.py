"""How checkpoints and rows are written: with checksums inside, so that each says if it is whole.

A checkpoint is the zip that torch.save writes; its comment holds the format and the SHA-256 of all
before that. A row of a jsonl file ends in the CRC-32 of the rest. Both stay what they are to other
programs: torch.load and a reader of JSON lines take them.
"""

import hashlib
import io
import json
import re
import sys
import zlib
from typing import Any

import torch

FORMAT = 1
"""Of a checkpoint's content. A later ganatomy reads earlier ones, or says that it does not."""

_COMMENT = b"ganatomy checkpoint %d sha256 "
_DIGEST = 64
_END = 22
"""Bytes of a zip's last record, of which the last two are the length of the comment."""


class DamagedError(RuntimeError):
    """A file of a run folder is not what was written there."""


def seal(content: bytes) -> bytes:
    """Add format and checksum to what torch.save wrote."""
    assert content[-_END:].startswith(b"PK\5\6") and content[-2:] == bytes(2)
    comment = _COMMENT % FORMAT
    length = len(comment) + _DIGEST
    told = content[:-2] + length.to_bytes(2, "little") + comment
    return told + hashlib.sha256(told).hexdigest().encode()


def pack(state: dict[str, Any]) -> bytes:
    """Write a nest of tensors and numbers; equal ones to equal bytes, whatever they share."""
    buffer = io.BytesIO()  # torch.save to a full disk can end the process; bytes cannot
    torch.save(_canonical(state), buffer)
    return seal(buffer.getvalue())


def unpack(content: bytes) -> dict[str, Any]:
    """Read what pack gave, onto the CPU, and nothing that would run.

    Raises:
        DamagedError: as see_whole does. Of a content that others have sealed torch may raise more.
    """
    check_whole(content)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(k) if isinstance(k, str) else k: _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_canonical(v) for v in value])
    return value


def check_whole(content: bytes) -> None:
    """See that a checkpoint is whole, and of a format that is known here.

    Raises:
        DamagedError: if not, saying which, in words to follow the name of the file.
    """
    told, digest = content[:-_DIGEST], content[-_DIGEST:]
    comment = re.search(rb"ganatomy checkpoint (\d+) sha256 $", told[-40:])
    if comment is None:
        raise DamagedError("is cut short, or no checkpoint that ganatomy wrote")
    if hashlib.sha256(told).hexdigest().encode() != digest:
        raise DamagedError("has another checksum than it was written with")
    if int(comment[1]) > FORMAT:
        raise DamagedError(f"is of format {int(comment[1])}, for which a newer ganatomy is needed")


def line(row: dict[str, Any]) -> bytes:
    """Write a row as a line, with a checksum as its last entry.

    Raises:
        ValueError: for a number that is not finite.
    """
    text = json.dumps(row, allow_nan=False)[:-1].encode()
    return text + b', "crc": "%08x"}\n' % zlib.crc32(text)


def row(line: bytes) -> dict[str, Any]:
    """Read a line without its newline.

    Raises:
        DamagedError: if it is not what was written.
    """
    end = re.search(rb', "crc": "([0-9a-f]{8})"\}$', line[-24:])
    text = line[: -len(end[0])] if end else b""
    if end is None or int(end[1], 16) != zlib.crc32(text):
        raise DamagedError("is not as it was written")
    try:
        found: dict[str, Any] = json.loads(text + b"}")
    except (ValueError, RecursionError) as error:  # written with a checksum by something else
        raise DamagedError("is not JSON") from error
    return found
