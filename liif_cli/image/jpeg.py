"""JPEG as a chain of segments: the density a JFIF header states, and the segments that carry metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

_ICC_HEAD = b"ICC_PROFILE\0"
_EXIF_HEAD = b"Exif\0\0"
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST_SEGMENT = 65_533  # bytes of content: the length field counts itself
LARGEST_EXIF = _LARGEST_SEGMENT - len(_EXIF_HEAD)
LARGEST_XMP = _LARGEST_SEGMENT - len(_XMP_HEAD)
_START = 20  # SOI and a JFIF segment


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


class Splice:
    """Passes the bytes of a JPEG on, and puts density and metadata into its beginning.

    libvips would write EXIF itself, but in its own words; told not to, it leaves JFIF out as well.
    `error` is what `write` has failed with: it is called from C, through which no exception passes.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        exif: bytes | None,
        xmp: bytes | None,
        dpi: tuple[float, float] | None,
    ) -> None:
        self._write = write
        x, y = (max(1, min(round(d), 65535)) for d in dpi) if dpi else (1, 1)
        jfif = b"JFIF\0" + struct.pack(">HBHHBB", 0x0102, 1 if dpi else 0, x, y, 0, 0)
        self._segments = _segment(0xE0, jfif)
        for head, block in ((_EXIF_HEAD, exif), (_XMP_HEAD, xmp)):
            if block:
                self._segments += _segment(0xE1, head + block)
        self._start: bytes | None = b""
        self.error: BaseException | None = None

    def write(self, data: Any) -> int:
        """Take some bytes; returns how many were taken, -1 after an error."""
        try:
            if self._start is None:
                self._write(data)
            else:
                self._start += bytes(data)
                if len(self._start) >= _START:
                    start, self._start = self._start, None
                    own = start[2:4] == b"\xff\xe0" and start[6:11] == b"JFIF\0"
                    self._write(start[:2] + self._segments + start[_START if own else 2 :])
        except BaseException as error:
            self.error = error
            return -1
        return len(data)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
