"""Pictures, profiles and metadata made for the tests of this room, and where the shared ones are."""

from __future__ import annotations

import csv
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from liif_cli.image.picture import Picture, quantize


def card(
    *, height: int = 24, width: int = 31, channels: int = 3, alpha: bool = False, bits: int = 8
) -> Picture:
    """A smooth picture of which no two of the eight turns look alike."""
    y, x = np.mgrid[:height, :width]
    shade = 0.15 + 0.5 * x / width + 0.3 * (y / height) ** 2
    colours = np.stack([shade, 1 - shade, 0.3 + 0.4 * shade], axis=2)[..., :channels]
    cover = quantize(0.2 + 0.8 * y / height, bits) if alpha else None
    return Picture(pixels=quantize(colours, bits), alpha=cover, bits=bits)


def samples(picture: Picture) -> npt.NDArray[Any]:
    """Colour and alpha side by side."""
    if picture.alpha is None:
        return picture.pixels
    return np.concatenate([picture.pixels, picture.alpha[..., None]], axis=2)


def noise(height: int, width: int, channels: int, bits: int = 8, seed: int = 0) -> npt.NDArray[Any]:
    """Every value there is, and nothing a lossless format could lose unnoticed."""
    numbers = np.random.default_rng(seed).integers(0, 1 << bits, (height, width, channels))
    return numbers.astype(np.uint8 if bits == 8 else np.uint16)


def exif(
    orientation: int = 1,
    *,
    order: str = "<",
    kind: int = 3,
    make: bytes = b"Some Maker\0",
    thumbnail: bool = False,
) -> bytes:
    """An EXIF block with a maker, an orientation and the picture's size in its inner directory."""
    word = {1: "B", 2: "s", 3: "H", 4: "I"}[kind]
    value: Any = str(orientation).encode() if kind == 2 else orientation
    turned = struct.pack(order + word, value).ljust(4, b"\0")
    first, inner = 8, 8 + 2 + 3 * 12 + 4
    text = inner + 2 + 2 * 12 + 4
    after = text + len(make)
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
    block += struct.pack(order + "H", 3)
    block += struct.pack(order + "HHII", 271, 2, len(make), text)
    block += struct.pack(order + "HHI", 274, kind, 1) + turned
    block += struct.pack(order + "HHII", 34665, 4, 1, inner)
    block += struct.pack(order + "I", after if thumbnail else 0)
    block += struct.pack(order + "H", 2)
    block += struct.pack(order + "HHIHH", 40962, 3, 1, 31, 0)
    block += struct.pack(order + "HHIHH", 40963, 3, 1, 24, 0)
    block += struct.pack(order + "I", 0) + make
    if thumbnail:
        block += struct.pack(order + "HHHIII", 1, 259, 3, 1, 6, 0)
    return block


def profile(space: str = "RGB ", *, gamma: float = 1.8) -> bytes:
    """A small sound colour profile: sRGB's colours, or grey, with another curve."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"

    def xyz(*values: float) -> bytes:
        return b"XYZ " + struct.pack(">I3i", 0, *(round(v * 65536) for v in values))

    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    tags[b"desc"] = b"desc" + struct.pack(">II", 0, 2) + b"p\0" + bytes(78 + 2)
    if space == "GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {
            b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
            b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
            b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        }
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", space.encode(), b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the index of the shared pictures."""

    file: str
    expect: str
    width: int
    height: int
    bits: int
    alpha: bool

    @property
    def path(self) -> Path:
        return shared_images() / self.file


def shared_images() -> Path:
    """Where the shared pictures are; need not exist."""
    named = os.environ.get("LIIF_SHARED")
    return (Path(named) if named else Path(__file__).parents[3] / "shared") / "images"


def shared_rows() -> list[Row]:
    """The index of the shared pictures, empty where they are not."""
    index = shared_images() / "index.tsv"
    if not index.is_file():
        return []
    with index.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Row(
            file=row["file"],
            expect=row["expect"],
            width=int(row["expected_width"] or 0),
            height=int(row["expected_height"] or 0),
            bits=int(row["expected_bits"] or 0),
            alpha=row["expected_alpha"] == "yes",
        )
        for row in rows
    ]
