"""TIFF directories, whatever is in them."""

from __future__ import annotations

import struct

import pytest

from liif_cli.image import tiff


def classic(*entries: tuple[int, int, int, int], order: str = "<") -> bytes:
    """A TIFF header and one directory of (tag, type, count, value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    rows = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + rows + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_are_read_in_both_byte_orders(order: str) -> None:
    structure = tiff.of_bytes(classic((256, 4, 1, 70_000), (257, 4, 1, 3), order=order))
    first = structure.directory(structure.first)
    assert structure.number(first, 256, 0) == 70_000
    assert structure.numbers(first, 257) == (3,)
    assert structure.number(first, 258, -1) == -1


def test_bigtiff_is_read() -> None:
    import pyvips

    data = pyvips.Image.black(31, 24).tiffsave_buffer(bigtiff=True)
    structure = tiff.of_bytes(data)
    assert structure.big
    assert structure.number(structure.directory(structure.first), tiff.WIDTH, 0) == 31


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"XX*\0\x08\0\0\0" + bytes(20),
        b"II*\0\xff\xff\xff\x7f" + bytes(20),
        b"II*\0\x08\0\0\0\0\0" + bytes(20),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(20),
        b"II+\0\x08\0\0\0",
    ],
)
def test_what_is_no_structure_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"TIFF header|directory"):
        structure = tiff.of_bytes(data)
        structure.directory(structure.first)


def test_a_value_beyond_the_end_is_no_value() -> None:
    structure = tiff.of_bytes(classic((282, 5, 1, 1 << 30), (258, 3, 1 << 30, 1 << 30)))
    first = structure.directory(structure.first)
    assert structure.numbers(first, 282) == ()
    assert structure.numbers(first, 258) == ()
