"""What a file is, from its first bytes. Its name does not matter."""

from __future__ import annotations

import os
from typing import BinaryIO

HEAD_BYTES = 512
"""How much of the beginning `kind_of` wants to see."""

# A WebP file says in one of so many chunks how it is packed: before it come a profile, the loop, the alpha.
_CHUNKS = 16
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"qoif", "qoi"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (0, b"\xff\x4f\xff\x51", "jpeg2000"),
    (0, b"8BPS", "psd"),
    (0, b"DDS ", "dds"),
    (0, b"\0\0\1\0", "ico"),
    (0, b"icns", "icns"),
    (0, b"\x01\xda", "sgi"),
    # Known, and not read: their name is worth more to the user than "unknown".
    (0, b"\x89PNG", "a PNG damaged by a transfer in text mode"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript drawing"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\0\x05\x16\x07", "an AppleDouble companion file"),
    (0, b"\xd0\xcf\x11\xe0", "an OLE document or thumbnail cache"),
    (0, b"v/1\1", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"gimp xcf", "a GIMP project"),
    (0, b"FUJIFILMCCD-RAW", "a camera RAW file"),
    (0, b"IIRO", "a camera RAW file"),
    (0, b"IIU\0", "a camera RAW file"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"OggS", "a video"),
    (0, b"ID3", "a sound file"),
)
_BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"crx ": "a camera RAW file",
    b"qt  ": "a video",
    b"jxl ": "JPEG XL",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
_BY_PILLOW = ("webp", "gif", "bmp", "qoi", "jpeg2000", "psd", "dds", "ico", "icns", "sgi")
_READ = frozenset({"png", "jpeg", "tiff", "avif", "netpbm", *_BY_PILLOW})


def kind_of(head: bytes) -> str:
    """The format of a file that begins with `head`, "" if that does not tell.

    One of the words of `is_read`, or, for what is known and not read, a phrase like "a PDF document".
    """
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            # Canon's and Olympus' and other raw files are TIFFs with a mark
            raw = kind == "tiff" and (head[8:10] == b"CR" or head[8:12] == b"\xba\xb0\xac\xbb")
            return "a camera RAW file" if raw else kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "a video", b"WAVE": "a sound file"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:2] == b"BM" and len(head) > 14:
        return "bmp"
    if head[:1] == b"P" and head[:6] != b"P7 332" and head[1:2] in b"1234567fF" and head[2:3] in b" \t\r\n":
        return "netpbm"
    return _of_text(head)


def is_read(kind: str) -> bool:
    """Whether `kind_of` named a format that is read, surely and not by trying."""
    return kind in _READ


def _of_brands(head: bytes) -> str:
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, length - 3, 4))]
    known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return "avif" if "avif" in known else known[0] if known else "a video"


def _of_text(head: bytes) -> str:
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "nothing but zeros"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<?xml", b"<svg", b"<!--", b"<!doctype svg")) and (b"<svg" in start):
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml")):
        return "a web page or XML text"
    return ""


def keeps_all(file: BinaryIO) -> bool:
    """Whether a WebP file is packed without loss: its first picture is in a VP8L chunk. Moves the file."""
    file.seek(12)
    for _ in range(_CHUNKS):
        head = file.read(8)
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if len(head) < 8 or name in (b"VP8 ", b"VP8L"):
            return name == b"VP8L"
        # A frame holds chunks of its own behind 16 bytes that say where it lies.
        file.seek(16 if name == b"ANMF" else size + size % 2, os.SEEK_CUR)
    return False


def stated_bits(head: bytes, kind: str) -> int:
    """Bits a sample of a JPEG 2000 or SGI file, which Pillow reads as 8 without a word; 0 if not told."""
    if kind == "sgi":
        return 8 * head[3] if len(head) > 3 else 0
    if kind == "jpeg2000":
        start = head.find(b"\xff\x4f\xff\x51")  # SOC and SIZ; Ssiz lies 40 bytes behind the latter
        if 0 <= start < len(head) - 42:
            return (head[start + 42] & 0x7F) + 1
    return 0
