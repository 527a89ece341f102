"""PNG as a chain of chunks (PNG specification, third edition): what they say, and how to write them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 100_000
_KEPT_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # a pixel, by colour type


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, int]]:
    """(type, content, length) of each chunk; of long ones the content stays unread, b"".

    Stops quietly at the end, however it comes: the decoder judges the pixels, not this.
    """
    file.seek(len(SIGNATURE))
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        content = file.read(length) if length <= _KEPT_BYTES and kind != b"IDAT" else b""
        yield kind, content, length
        if kind == b"IEND":
            return
        file.seek(4 + length - len(content), 1)


def says(file: BinaryIO) -> dict[bytes, bytes]:
    """The first chunk of each type that a reader of pictures may care about."""
    wanted = {b"acTL", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"eXIf", b"pHYs"}
    found: dict[bytes, bytes] = {}
    for kind, content, _ in chunks(file):
        if kind in wanted:
            found.setdefault(kind, content)
    return found


def notes(said: dict[bytes, bytes]) -> tuple[str, ...]:
    """What of that is lost when only the pixels, their profile and EXIF are kept."""
    lost = []
    if len(frames := said.get(b"acTL", b"")) == 8 and int.from_bytes(frames[:4], "big") > 1:
        lost.append(f"animated: the first of {int.from_bytes(frames[:4], 'big')} frames was taken")
    if b"cICP" in said:
        lost.append("its cICP mark (wide gamut or HDR) is not carried over: the numbers are kept")
    elif b"gAMA" in said and not said.keys() & {b"iCCP", b"sRGB"}:
        gamma = int.from_bytes(said[b"gAMA"], "big") / 100_000
        if abs(gamma - 1 / 2.2) > 0.01:
            lost.append(f"its gAMA mark ({gamma:g}) is not carried over: the numbers are kept")
    return tuple(lost)


def dpi(pixels_per_unit: bytes) -> tuple[float, float] | None:
    """What a pHYs chunk says, per inch. Where it only gives the shape of a pixel: 72 for the coarser way."""
    if len(pixels_per_unit) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", pixels_per_unit)
    if not x or not y:
        return None
    if unit == 1:
        return x * 0.0254, y * 0.0254
    return None if x == y else (72.0 * x / min(x, y), 72.0 * y / min(x, y))


def damage(file: BinaryIO) -> str:
    """What is wrong with the pixel data of a PNG that could not be decoded, "" if nothing is found."""
    unpacker = zlib.decompressobj()
    height = row = unpacked = 0
    found = ""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        checksum, header = zlib.crc32(head[4:]), b""
        for piece in _pieces(file, int.from_bytes(head[:4], "big")):
            checksum = zlib.crc32(piece, checksum)
            if head[4:] == b"IHDR":
                header += piece
            elif head[4:] == b"IDAT" and not found:
                try:
                    while unpacked < height * row and (out := unpacker.decompress(piece, row)):
                        unpacked += len(out)
                        piece = unpacker.unconsumed_tail
                except zlib.error:
                    found = "its pixel data is damaged"
        if len(header) == 13:
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
            row = 1 + (width * depth * _SAMPLES.get(colour, 1) + 7) // 8
            if interlaced:  # seven pictures, not one: no rows to count
                return ""
        if head[4:] == b"IDAT" and file.read(4) != checksum.to_bytes(4, "big") and not found:
            found = "the checksum of its pixel data is wrong"
        elif head[4:] != b"IDAT":
            file.seek(4, 1)
    missing = height - unpacked // row if row else 0
    return f"{missing:,} of {height:,} rows are missing" if missing > 0 else found


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (piece := file.read(min(length, _PIECE_BYTES))):
        length -= len(piece)
        yield piece
