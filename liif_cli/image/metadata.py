"""EXIF and XMP: which way is up, and how they read once the picture stands upright.

The blocks are changed in place and nowhere else, so that what other programs hide in them (maker
notes with absolute offsets) stays where it was. Whatever is broken in them costs the block, never
the picture.
"""

from __future__ import annotations

import re
import struct

import numpy as np
import numpy.typing as npt

from liif_cli.image import tiff

_PREFIX = b"Exif\0\0"
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>\s*))([0-9]+)")


def exif_block(data: bytes | None) -> bytes | None:
    """`data` without the prefix some formats put before it; None if no EXIF can be read from it."""
    while data and data.startswith(_PREFIX):
        data = data[len(_PREFIX) :]
    if not data:
        return None
    try:
        structure = tiff.of_bytes(data)
        structure.directory(structure.first)
    except ValueError:
        return None
    return None if structure.big else data


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """1 to 8 as EXIF counts them; EXIF goes before XMP; 1 for nonsense and where nothing is said."""
    said = 0
    if exif:
        structure = tiff.of_bytes(exif)
        said = structure.number(structure.directory(structure.first), tiff.ORIENTATION, 0)
    if not said and xmp and (found := _XMP_ORIENTATION.search(xmp)):
        said = int(found[2][:9])
    return said if 1 <= said <= 8 else 1


def turned(array: npt.NDArray[np.generic], orientation: int) -> npt.NDArray[np.generic]:
    """(h, w, ...) stored with EXIF `orientation`, upright; a view."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def upright_exif(exif: bytes) -> bytes:
    """The block of an upright picture: orientation 1, and without the thumbnail, which is still turned."""
    structure = tiff.of_bytes(exif)
    directory = structure.directory(structure.first)
    block = bytearray(exif)
    if entry := directory.entries.get(tiff.ORIENTATION):
        block[entry.here : entry.here + 12] = struct.pack(
            structure.order + "HHIHH", tiff.ORIENTATION, tiff.SHORT, 1, 1, 0
        )
    if directory.next and directory.next_at + 4 <= len(block):
        block[directory.next_at : directory.next_at + 4] = bytes(4)
    return bytes(block)


def resized_exif(exif: bytes, width: int, height: int) -> bytes:
    """The block with the picture's new size where it states one."""
    structure = tiff.of_bytes(exif)
    block = bytearray(exif)
    first = structure.directory(structure.first)
    places = [(first, tiff.WIDTH, width), (first, tiff.LENGTH, height)]
    try:
        inner = structure.directory(structure.number(first, tiff.EXIF_DIRECTORY, 0))
    except ValueError:
        pass
    else:
        places += [(inner, tiff.EXIF_WIDTH, width), (inner, tiff.EXIF_HEIGHT, height)]
    for directory, tag, size in places:
        entry = directory.entries.get(tag)
        if entry is None or entry.count != 1 or entry.type not in (tiff.SHORT, tiff.LONG):
            continue
        # a LONG always fits, and both types lie inside the entry
        block[entry.here + 2 : entry.here + 12] = struct.pack(structure.order + "HII", tiff.LONG, 1, size)
    return bytes(block)


def upright_xmp(xmp: bytes) -> bytes:
    """The packet of an upright picture."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
