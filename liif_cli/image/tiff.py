"""Directories of a TIFF structure: what a TIFF file says of its pixels, and what an EXIF block says.

An EXIF block is a TIFF without pixels, so one reader serves both. It reads only what is asked for,
believes no count and no offset, and ends on any input: what is broken raises ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

ReadAt = Callable[[int, int], bytes]  # (offset, length) -> at most so many bytes

NEW_SUBFILE_TYPE, SUB_DIRECTORIES, DNG_VERSION = 254, 330, 50706
WIDTH, LENGTH = 256, 257
BITS, COMPRESSION, PHOTOMETRIC = 258, 259, 262
ORIENTATION = 274
SAMPLES = 277
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
EXTRA_SAMPLES = 338
Y_SUBSAMPLING = 530
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 34665, 34853, 40965
EXIF_WIDTH, EXIF_HEIGHT = 40962, 40963

BYTE, ASCII, SHORT, LONG, RATIONAL, LONG8 = 1, 2, 3, 4, 5, 16
_SIZE = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_CODE = {1: "B", 3: "H", 4: "I", 5: "II", 13: "I", 16: "Q", 18: "Q"}
_UNIT = {
    3: 2,
    4: 4,
    5: 4,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}  # what a byte order turns
# Of the first directory, what describes the picture and not how its pixels lie: name, maker, model,
# software, date, artist, host, rating, copyright, and Windows' five.
_DESCRIPTIVE = frozenset({270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)})
_INNER = frozenset({EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY})
_LARGEST_VALUE = 1 << 20
_MOST_ENTRIES = 4096
_MOST_DIRECTORIES = 10_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One tag. Its values, `count` of them, lie at offset `at`; itself at offset `here`."""

    type: int
    count: int
    at: int
    here: int


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One directory (IFD). `next` is the offset of the next one or 0, stored at `next_at`."""

    entries: dict[int, Entry]
    next: int
    next_at: int


class Structure:
    """A TIFF structure, classic or BigTIFF, read through `read_at`. Raises ValueError if it is none."""

    def __init__(self, read_at: ReadAt) -> None:
        self.read_at = read_at
        head = read_at(0, 16)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not self.order or len(head) < 8:
            raise ValueError("no TIFF header")
        version = struct.unpack(self.order + "H", head[2:4])[0]
        if version not in (42, 43) or (version == 43 and len(head) < 16):
            raise ValueError("no TIFF header")
        self.big = version == 43
        self.first: int = struct.unpack(
            self.order + ("Q" if self.big else "I"), head[8:] if self.big else head[4:8]
        )[0]

    def directory(self, offset: int) -> Directory:
        """The directory at `offset`."""
        count_size, entry_size, word = (8, 20, "Q") if self.big else (2, 12, "I")
        count = struct.unpack(self.order + ("Q" if self.big else "H"), self._exactly(offset, count_size))[0]
        if not 1 <= count <= _MOST_ENTRIES:
            raise ValueError(f"a directory of {count} tags")
        word_size = struct.calcsize(word)
        start = offset + count_size
        table = self._exactly(start, count * entry_size)
        entries: dict[int, Entry] = {}
        for i in range(count):
            row = table[i * entry_size : (i + 1) * entry_size]
            tag, kind = struct.unpack(self.order + "HH", row[:4])
            values = struct.unpack(self.order + word, row[4 : 4 + word_size])[0]
            here = start + i * entry_size
            if _SIZE.get(kind, 1) * values <= word_size:
                at = here + 4 + word_size
            else:
                at = struct.unpack(self.order + word, row[4 + word_size :])[0]
            entries.setdefault(tag, Entry(type=kind, count=values, at=at, here=here))
        end = start + count * entry_size
        after = self.read_at(end, word_size)
        following = struct.unpack(self.order + word, after)[0] if len(after) == word_size else 0
        return Directory(entries=entries, next=following, next_at=end)

    def directories(self) -> Iterator[Directory]:
        """The chain of directories from the first; stops where it breaks or bites its own tail."""
        seen: set[int] = set()
        offset = self.first
        while offset and offset not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(offset)
            try:
                directory = self.directory(offset)
            except ValueError:
                return
            yield directory
            offset = directory.next

    def numbers(self, directory: Directory, tag: int, *, most: int = 16) -> tuple[float, ...]:
        """The first values of `tag`, () if it is not there, is no number or lies beyond the end."""
        entry = directory.entries.get(tag)
        if entry is None or entry.type not in _CODE:
            return ()
        size, code = _SIZE[entry.type], _CODE[entry.type]
        count = min(entry.count, most)
        data = self.read_at(entry.at, count * size)
        data = data[: len(data) // size * size]
        rows = struct.iter_unpack(self.order + code, data)
        if entry.type == RATIONAL:
            return tuple(a / b for a, b in rows if b)
        return tuple(row[0] for row in rows)

    def number(self, directory: Directory, tag: int, default: int) -> int:
        """The first value of `tag` as a whole number."""
        values = self.numbers(directory, tag, most=1)
        return int(values[0]) if values else default

    def _exactly(self, offset: int, length: int) -> bytes:
        data = self.read_at(offset, length)
        if len(data) != length:
            raise ValueError("a directory beyond the end")
        return data


def of_bytes(block: bytes) -> Structure:
    """The structure in `block`, an EXIF block for instance."""
    return Structure(lambda offset, length: block[offset : offset + length])


def of_file(file: BinaryIO) -> Structure:
    """The structure of a TIFF file."""

    def read_at(offset: int, length: int) -> bytes:
        if offset > 2**62:
            return b""
        file.seek(offset)
        return file.read(length)

    return Structure(read_at)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the first page of a TIFF file says beside its pixels.

    raw: it is the small preview in front of a camera's raw data.
    plain_ycbcr: YCbCr that is not packed as JPEG; subsampled: with fewer samples of colour.
    """

    bits: int
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
    first = structure.directory(structure.first)
    pages = sum(1 for d in structure.directories() if not structure.number(d, NEW_SUBFILE_TYPE, 0) & 1)
    said = structure.number(first, ORIENTATION, 1)
    preview = structure.number(first, NEW_SUBFILE_TYPE, 0) & 1 and SUB_DIRECTORIES in first.entries
    ycbcr = structure.number(first, PHOTOMETRIC, 1) == 6
    return Page(
        raw=bool(preview) or DNG_VERSION in first.entries,
        plain_ycbcr=ycbcr and structure.number(first, COMPRESSION, 1) not in (6, 7),
        subsampled=ycbcr and structure.numbers(first, Y_SUBSAMPLING) != (1, 1),
        bits=structure.number(first, BITS, 1),
        # 1 and 2 are alpha, premultiplied and not (libvips and Pillow divide); 0 says nothing
        alpha=structure.numbers(first, EXTRA_SAMPLES) in ((1,), (2,)),
        orientation=said if 1 <= said <= 8 else 1,
        dpi=_dpi(structure, first),
        exif=_exif(structure, first),
        notes=(f"of several pages: the first of {pages} was taken",) if pages > 1 else (),
    )


def _dpi(structure: Structure, directory: Directory) -> tuple[float, float] | None:
    x, y = (structure.numbers(directory, tag, most=1) for tag in (X_RESOLUTION, Y_RESOLUTION))
    unit = {2: 1.0, 3: 2.54}.get(structure.number(directory, RESOLUTION_UNIT, 2))
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
    entry = structure.directory(structure.first).entries.get(RESOLUTION_UNIT)
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
        length = _SIZE.get(entry.type, 0) * entry.count
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
    unit = _UNIT.get(value.type, 1)
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
