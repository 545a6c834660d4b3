"""Checkpoints and rows with checksums, so that damage to a file is always detected.

A checkpoint is the zip that torch.save writes, with the format and a SHA-256 of all that precedes
it in the zip's comment: the zip's own CRCs cover neither its directory nor the headers, where a
flipped bit can silently give other weights. A row of a jsonl file ends with the CRC-32 of the rest.
Other programs read both as usual: torch.load, and any reader of JSON lines.
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
"""Version of a checkpoint's content; later versions read earlier ones."""

_COMMENT = b"ganatomy checkpoint %d sha256 "
_DIGEST = 64
_END = 22
"""Bytes of a zip's last record; the last two are the length of the comment."""


class DamagedError(RuntimeError):
    """A file of a run folder differs from the one that was written."""


def encode_checkpoint(state: dict[str, Any]) -> bytes:
    """Serialize nested tensors and numbers; equal states give equal bytes."""
    buffer = io.BytesIO()  # torch.save to a full disk can end the process
    torch.save(_canonical(state), buffer)
    return add_checksum(buffer.getvalue())


def decode_checkpoint(content: bytes) -> dict[str, Any]:
    """Deserialize a checkpoint onto the CPU, without running code from it.

    Raises:
        DamagedError: as check_checksum does; torch may raise other errors.
    """
    check_checksum(content)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _canonical(value: Any) -> Any:
    """Copy containers and intern keys, as pickle writes shared objects as references."""
    if isinstance(value, dict):
        return {sys.intern(k) if isinstance(k, str) else k: _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_canonical(v) for v in value])
    return value


def add_checksum(content: bytes) -> bytes:
    """Add format and checksum to the output of torch.save."""
    assert content[-_END:].startswith(b"PK\5\6") and content[-2:] == bytes(2)
    comment = _COMMENT % FORMAT
    length = len(comment) + _DIGEST
    covered = content[:-2] + length.to_bytes(2, "little") + comment
    return covered + hashlib.sha256(covered).hexdigest().encode()


def check_checksum(content: bytes) -> None:
    """Check that a checkpoint is intact and of a known format.

    Raises:
        DamagedError: if it is not, with a reason that continues the file's name.
    """
    covered, digest = content[:-_DIGEST], content[-_DIGEST:]
    comment = re.search(rb"ganatomy checkpoint (\d+) sha256 $", covered[-40:])
    if comment is None:
        raise DamagedError("is truncated, or is not a checkpoint of ganatomy")
    if hashlib.sha256(covered).hexdigest().encode() != digest:
        raise DamagedError("is damaged: its checksum does not match")
    if int(comment[1]) > FORMAT:
        raise DamagedError(f"has format {int(comment[1])}, which needs a newer ganatomy")


def encode_row(row: dict[str, Any]) -> bytes:
    """Write a row as a line of JSON with a checksum as its last entry.

    Raises:
        ValueError: for a number that is not finite.
    """
    text = json.dumps(row, allow_nan=False)[:-1].encode()
    return text + b', "crc": "%08x"}\n' % zlib.crc32(text)


def decode_row(line: bytes) -> dict[str, Any]:
    """Read a line, without its newline.

    Raises:
        DamagedError: if it is damaged, with a reason that continues its place.
    """
    end = re.search(rb', "crc": "([0-9a-f]{8})"\}$', line[-24:])
    text = line[: -len(end[0])] if end else b""
    if end is None or int(end[1], 16) != zlib.crc32(text):
        raise DamagedError("is damaged: its checksum does not match")
    try:
        found: dict[str, Any] = json.loads(text + b"}")
    except (ValueError, RecursionError) as error:  # another program wrote it, with a checksum
        raise DamagedError("is not JSON") from error
    return found
