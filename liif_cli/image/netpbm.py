"""PGM, PPM and PAM: raw numbers behind a short header, so no decoder is needed and no depth is lost.

Bitmaps (P1, P4) and floats (Pf, PF) are left to Pillow.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from liif_cli.image.decoded import Damaged, Decoded, Limit, Unsupported, hollow

_HEADER = re.compile(rb"P([2356])" + rb"(?:\s|#[^\n]*\n)+(\d{1,10})" * 3 + rb"(?:#[^\n]*)?\s")
_HEADER_BYTES = 64 << 10
_PAM_DEPTHS = {b"BLACKANDWHITE": 1, b"GRAYSCALE": 1, b"RGB": 3}


def is_numbers(head: bytes) -> bool:
    """Whether a file that begins like this is for `decode`."""
    return head[:2] in (b"P2", b"P3", b"P5", b"P6", b"P7")


def decode(file: BinaryIO, limit: Limit, *, pixels: bool = True) -> Decoded:
    """Decode P2, P3, P5, P6 and P7 from a seekable file; without `pixels` only the header.

    Raises Damaged, Unsupported, TooLarge.
    """
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    if head[:2] == b"P7":
        width, height, bands, maxval, start = _pam(head)
    else:
        found = _HEADER.match(head)
        if not found:
            raise Damaged("its header does not tell width, height and maximum")
        width, height, maxval = (int(number) for number in found.groups()[1:])
        bands, start = 3 if found[1] in b"36" else 1, found.end()
    if not 1 <= maxval <= 65535:
        raise Damaged(f"its maximum is {maxval}, not 1 to 65535")
    limit.check(width, height)
    file.seek(start)
    if not pixels:
        samples = hollow(height, width, bands, np.uint8 if maxval < 256 else np.uint16)
        return Decoded(samples=samples, colour="grey" if bands < 3 else "rgb", alpha=bands in (2, 4))
    if head[1:2] in b"23":
        numbers = _written_out(file.read(), width * height * bands)
    else:
        numbers = _raw(file, width * bands, height, 1 if maxval < 256 else 2)
    samples = _full_range(numbers, maxval).reshape(height, width, bands)
    return Decoded(samples=samples, colour="grey" if bands < 3 else "rgb", alpha=bands in (2, 4))


def _pam(head: bytes) -> tuple[int, int, int, int, int]:
    end = head.find(b"ENDHDR\n")
    if end < 0:
        raise Damaged("its header has no end")
    fields = {words[0]: words[1] for line in head[:end].splitlines()[1:] if len(words := line.split()) == 2}
    try:
        width, height, bands, maxval = (int(fields[k]) for k in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    except (KeyError, ValueError) as error:
        raise Damaged("its header does not tell width, height, depth and maximum") from error
    meaning = fields.get(b"TUPLTYPE", {1: b"GRAYSCALE", 3: b"RGB"}.get(bands, b""))
    colour = _PAM_DEPTHS.get(meaning.removesuffix(b"_ALPHA"), 0)
    if not colour or bands != colour + meaning.endswith(b"_ALPHA"):
        raise Unsupported(f"a PAM of {bands} channels called {meaning.decode('ascii', 'replace')!r}")
    return width, height, bands, maxval, end + len(b"ENDHDR\n")


def _raw(file: BinaryIO, row: int, height: int, size: int) -> npt.NDArray[Any]:
    data = file.read(row * height * size)
    if missing := row * height * size - len(data):
        rows = -(-missing // (row * size))
        raise Damaged(f"{rows} of {height} rows are missing")
    return np.frombuffer(data, np.uint8 if size == 1 else np.dtype(">u2"))


def _written_out(text: bytes, count: int) -> npt.NDArray[Any]:
    words = re.sub(rb"#[^\n]*", b"", text).split(maxsplit=count)[:count]
    if len(words) < count:
        raise Damaged(f"{count - len(words)} of {count} values are missing")
    try:
        numbers = np.array(words).astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise Damaged("it holds something that is no number") from error
    if numbers.min() < 0:
        raise Damaged("it holds negative values")
    return numbers


def _full_range(numbers: npt.NDArray[Any], maxval: int) -> npt.NDArray[Any]:
    """0 to `maxval` spread over the 8 or 16 bits that hold it, rounded half up."""
    top, dtype = (255, np.uint8) if maxval < 256 else (65535, np.uint16)
    if maxval == top:
        plain: npt.NDArray[Any] = np.minimum(numbers, top).astype(dtype)
        return plain
    table = (np.arange(maxval + 1, dtype=np.uint64) * top * 2 + maxval) // (2 * maxval)
    spread: npt.NDArray[Any] = table.astype(dtype)[np.minimum(numbers, maxval)]
    return spread
