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

WIDTH, LENGTH = 256, 257
ORIENTATION = 274
EXIF_DIRECTORY = 34665
EXIF_WIDTH, EXIF_HEIGHT = 40962, 40963

SHORT, LONG, RATIONAL, LONG8 = 3, 4, 5, 16
# type: (bytes of a number, numbers in a value); a byte order turns each number
_TYPES = {1: (1, 1), 2: (1, 1), 3: (2, 1), 4: (4, 1), 5: (4, 2), 6: (1, 1), 7: (1, 1), 8: (2, 1), 9: (4, 1)}
_TYPES |= {10: (4, 2), 11: (4, 1), 12: (8, 1), 13: (4, 1), 16: (8, 1), 17: (8, 1), 18: (8, 1)}
_CODE = {1: "B", 3: "H", 4: "I", 5: "II", 13: "I", 16: "Q", 18: "Q"}
_MOST_ENTRIES = 4096
_MOST_DIRECTORIES = 10_000


def value_bytes(kind: int, *, otherwise: int = 0) -> int:
    """Bytes of one value of a type; `otherwise` for types there are not."""
    size, count = _TYPES.get(kind, (otherwise, 1))
    return size * count


def number_bytes(kind: int) -> int:
    """Bytes that belong together when the byte order changes."""
    return _TYPES.get(kind, (1, 1))[0]


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
            if value_bytes(kind, otherwise=1) * values <= word_size:
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
        size, code = value_bytes(entry.type), _CODE[entry.type]
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
