"""JPEG as a chain of segments: the density a JFIF header states, and the segments that carry metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

LARGEST_SEGMENT = 65_533  # bytes of content: the length field counts itself
_ICC_HEAD = b"ICC_PROFILE\0"
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


def dpi(head: bytes) -> tuple[float, float] | None:
    """Pixels per inch by the JFIF header in the first bytes of a file. A mere shape: 72 the coarser way."""
    if head[2:4] != b"\xff\xe0" or head[6:11] != b"JFIF\0" or len(head) < 18:
        return None
    unit, x, y = struct.unpack(">BHH", head[13:18])
    if not x or not y:
        return None
    if unit == 1:
        return float(x), float(y)
    if unit == 2:
        return x * 2.54, y * 2.54
    return None if x == y else (72.0 * x / min(x, y), 72.0 * y / min(x, y))


def has_profile(file: BinaryIO) -> bool:
    """Whether a JPEG file says that it has a colour profile, sound or not."""
    return any(kind == 0xE2 and content.startswith(_ICC_HEAD) for kind, content in segments(file))


def inks_are_inverted(file: BinaryIO) -> bool:
    """Whether 255 means no ink in a CMYK JPEG: only Adobe writes them so, and leaves its mark."""
    return any(kind == 0xEE and content.startswith(b"Adobe") for kind, content in segments(file))


def segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the segments before the pixels. Stops quietly where the chain breaks."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] not in (0xDA, 0xD9):
        length = int.from_bytes(head[2:], "big") - 2
        if length < 0:
            return
        yield head[1], file.read(length)
