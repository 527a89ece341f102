"""What a TIFF file says beside its pixels, and how it is made to say it.

EXIF in a TIFF is no block: its tags lie in the file's own directory and in inner ones. They are
gathered into a block when a file is read, and laid out again behind the pixels when one is written,
which stay where they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from liif_cli.image.tiff import (
    EXIF_DIRECTORY,
    LONG,
    LONG8,
    ORIENTATION,
    SHORT,
    Directory,
    Structure,
    number_bytes,
    of_bytes,
    of_file,
    value_bytes,
)

_NEW_SUBFILE_TYPE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
_BITS, _COMPRESSION, _PHOTOMETRIC, _EXTRA_SAMPLES = 258, 259, 262, 338
_YCBCR, _Y_SUBSAMPLING = 6, 530
_SAMPLES, _PLANAR = 277, 284
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
# Of the first directory, what describes the picture and not how its pixels lie: name, maker, model,
# software, date, artist, host, rating, copyright, and Windows' five.
_DESCRIPTIVE = frozenset({270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)})
_INNER = frozenset({EXIF_DIRECTORY, 34853, 40965})  # EXIF, GPS, interoperability
_LARGEST_VALUE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the first page of a TIFF file says beside its pixels, or the first that is no smaller copy.

    index: of that page, from 0. jpeg: its pixels are packed as JPEG.
    split: grey and alpha lie in planes of their own, which libvips takes for pixels side by side.
    raw: it is the small preview in front of a camera's raw data.
    plain_ycbcr: YCbCr that is not packed as JPEG; subsampled: with fewer samples of colour.
    """

    index: int
    bits: int
    jpeg: bool
    split: bool
    raw: bool
    plain_ycbcr: bool
    subsampled: bool
    alpha: bool
    orientation: int
    dpi: tuple[float, float] | None
    exif: bytes | None
    notes: tuple[str, ...]


def first_page(file: BinaryIO) -> Page:
    """Read it. Raises ValueError where there is none."""
    structure = of_file(file)
    front = structure.directory(structure.first)
    preview = structure.number(front, _NEW_SUBFILE_TYPE, 0) & 1 and _SUB_DIRECTORIES in front.entries
    full = [
        (n, page)
        for n, page in enumerate(structure.directories())
        if not structure.number(page, _NEW_SUBFILE_TYPE, 0) & 1
    ]
    index, first = full[0] if full else (0, front)
    notes = [f"of several pages: the first of {len(full)} was taken"] if len(full) > 1 else []
    if index:
        notes.append("a smaller copy stands first in it: the whole picture was taken")
    said = structure.number(first, ORIENTATION, 1)
    extra = structure.numbers(first, _EXTRA_SAMPLES)
    ycbcr = structure.number(first, _PHOTOMETRIC, 1) == _YCBCR
    return Page(
        index=index,
        jpeg=structure.number(first, _COMPRESSION, 1) in (6, 7),
        split=structure.number(first, _SAMPLES, 1) == 2 and structure.number(first, _PLANAR, 1) == 2,
        raw=bool(preview) or _DNG_VERSION in front.entries,
        plain_ycbcr=ycbcr and structure.number(first, _COMPRESSION, 1) not in (6, 7),
        subsampled=ycbcr and structure.numbers(first, _Y_SUBSAMPLING) != (1, 1),
        bits=structure.number(first, _BITS, 1),
        # 1 and 2 are alpha, premultiplied and not (libvips and Pillow divide); 0 says nothing, and two
        # of them say nothing either
        alpha=extra[:1] in ((1,), (2,)) and not {1, 2} & set(extra[1:]),
        orientation=said if 1 <= said <= 8 else 1,
        dpi=_dpi(structure, first),
        exif=_exif(structure, first),
        notes=tuple(notes),
    )


def _dpi(structure: Structure, directory: Directory) -> tuple[float, float] | None:
    x, y = (structure.numbers(directory, tag, most=1) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    unit = {2: 1.0, 3: 2.54}.get(structure.number(directory, _RESOLUTION_UNIT, 2))
    if not x or not y or unit is None or not (0 < x[0] < 1e6 and 0 < y[0] < 1e6):
        return None
    return x[0] * unit, y[0] * unit


@dataclass(frozen=True, kw_only=True)
class Value:
    """What a tag holds: `data` in the byte order of where it came from, or a directory of its own."""

    type: int
    count: int
    data: bytes
    inner: dict[int, Value] | None = None


def _exif(structure: Structure, first: Directory) -> bytes | None:
    """The EXIF block that says what a TIFF file says of its first page; None if that is nothing."""
    values = _values(structure, first, _DESCRIPTIVE | _INNER)
    if not values:
        return None
    head = (b"II*\0" if structure.order == "<" else b"MM\0*") + struct.pack(structure.order + "I", 8)
    return head + _laid_out(values, 8, structure.order, big=False)


def add_exif(file: BinaryIO, exif: bytes) -> None:
    """Give the first page of a TIFF file what an EXIF block says. The block is a sound one."""
    source, target = of_bytes(exif), of_file(file)
    values = _values(source, source.directory(source.first), _DESCRIPTIVE | _INNER)
    first = target.directory(target.first)
    size, width = ("Q", 20) if target.big else ("I", 12)
    old = {tag: target.read_at(entry.here, width) for tag, entry in first.entries.items()}
    values = {tag: _turned(v, source.order, target.order) for tag, v in values.items() if tag not in old}
    if not values:
        return
    start = file.seek(0, 2)
    start += file.write(bytes(start % 2))
    count = len(old) + len(values)
    table_end = start + (8 if target.big else 2) + count * width + struct.calcsize(size)
    rows, behind = _rows(values, table_end, target.order, big=target.big)
    table = b"".join(row for _, row in sorted((old | rows).items()))
    file.write(struct.pack(target.order + ("Q" if target.big else "H"), count) + table)
    file.write(struct.pack(target.order + size, first.next) + behind)
    # the old directory stays where it is, and no one points to it any more
    file.seek(8 if target.big else 4)
    file.write(struct.pack(target.order + size, start))


def forget_resolution(file: BinaryIO) -> None:
    """Let a TIFF file say that its resolution means nothing: unit 1, none."""
    structure = of_file(file)
    entry = structure.directory(structure.first).entries.get(_RESOLUTION_UNIT)
    if entry is not None and entry.type == SHORT:
        file.seek(entry.at)
        file.write(struct.pack(structure.order + "H", 1))


def _values(
    structure: Structure, directory: Directory, wanted: frozenset[int] | None, depth: int = 0
) -> dict[int, Value]:
    """The tags of a directory that can be read, those of inner directories with them."""
    found: dict[int, Value] = {}
    for tag, entry in directory.entries.items():
        if wanted is not None and tag not in wanted:
            continue
        length = value_bytes(entry.type) * entry.count
        if tag in _INNER:
            try:
                inside = structure.directory(structure.number(directory, tag, 0))
            except ValueError:
                continue
            inner = _values(structure, inside, None, depth + 1) if depth < 2 else {}
            if inner:
                found[tag] = Value(type=LONG, count=1, data=b"", inner=inner)
        elif 0 < length <= _LARGEST_VALUE:
            data = structure.read_at(entry.at, length)
            if len(data) == length:
                found[tag] = Value(type=entry.type, count=entry.count, data=data)
    return found


def _turned(value: Value, before: str, after: str) -> Value:
    """The value in another byte order."""
    if before == after:
        return value
    unit = number_bytes(value.type)
    data = b"".join(value.data[i : i + unit][::-1] for i in range(0, len(value.data), unit))
    inner = value.inner and {tag: _turned(v, before, after) for tag, v in value.inner.items()}
    return Value(type=value.type, count=value.count, data=data, inner=inner)


def _laid_out(values: dict[int, Value], start: int, order: str, *, big: bool) -> bytes:
    """A directory that will lie at `start`, followed by what it points to."""
    word = "Q" if big else "I"
    count = struct.pack(order + ("Q" if big else "H"), len(values))
    table_end = start + len(count) + len(values) * (20 if big else 12) + struct.calcsize(word)
    rows, behind = _rows(values, table_end, order, big=big)
    table = b"".join(row for _, row in sorted(rows.items()))
    return count + table + bytes(struct.calcsize(word)) + behind


def _rows(values: dict[int, Value], end: int, order: str, *, big: bool) -> tuple[dict[int, bytes], bytes]:
    """The row of each tag, and what does not fit into the rows, which will lie at `end`."""
    word = "Q" if big else "I"
    size = struct.calcsize(word)
    rows: dict[int, bytes] = {}
    behind = b""
    for tag, value in sorted(values.items()):
        kind, data = value.type, value.data
        behind += bytes((end + len(behind)) % 2)
        here = end + len(behind)
        if value.inner is not None:
            kind, data = (LONG8 if big else LONG), struct.pack(order + word, here)
            behind += _laid_out(value.inner, here, order, big=big)
        elif len(data) > size:
            behind += data
            data = struct.pack(order + word, here)
        rows[tag] = struct.pack(order + "HH" + word, tag, kind, value.count) + data.ljust(size, b"\0")
    return rows, behind
