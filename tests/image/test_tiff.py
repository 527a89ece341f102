"""TIFF directories: read whatever is in them, and give a file EXIF without touching its pixels."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif_cli.image import tiff
from liif_cli.image.read import read
from tests.image.pictures import card, exif


def classic(*entries: tuple[int, int, int, int], order: str = "<") -> bytes:
    """A TIFF header and one directory of (tag, type, count, value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    rows = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + rows + bytes(4)


def saved(**options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(card().pixels).save(out, "TIFF", **options)
    return out.getvalue()


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


def test_a_resolution_without_a_unit_is_none() -> None:
    data = saved(dpi=(300, 200))
    assert tiff.first_page(io.BytesIO(data)).dpi == (300.0, 200.0)
    file = io.BytesIO(data)
    tiff.forget_resolution(file)
    assert tiff.first_page(file).dpi is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_added_and_found_again(order: str) -> None:
    file = io.BytesIO(saved())
    tiff.add_exif(file, exif(6, order=order))
    assert np.array_equal(read(file.getvalue()).pixels, card().pixels)  # and not turned
    with Image.open(io.BytesIO(file.getvalue())) as image:
        image.load()
        assert image.getexif()[271] == "Some Maker"
        assert image.getexif().get_ifd(34665)[40962] == 31
    block = tiff.first_page(io.BytesIO(file.getvalue())).exif
    assert block is not None
    again = Image.Exif()
    again.load(b"Exif\0\0" + block)
    assert again[271] == "Some Maker"
    assert again.get_ifd(34665)[40963] == 24


def test_what_a_file_says_already_is_not_overwritten() -> None:
    file = io.BytesIO(saved(tiffinfo={271: "First"}))
    tiff.add_exif(file, exif())
    with Image.open(io.BytesIO(file.getvalue())) as image:
        assert image.getexif()[271] == "First"


def test_pages_are_counted_without_copies_and_to_the_end_of_the_chain() -> None:
    frames = [Image.fromarray(card().pixels)] * 3
    data = saved(save_all=True, append_images=frames[1:])
    assert tiff.first_page(io.BytesIO(data)).notes == ("of several pages: the first of 3 was taken",)
    structure = tiff.of_bytes(data)
    last = list(structure.directories())[-1]
    bitten = data[: last.next_at] + struct.pack("<I", structure.first) + data[last.next_at + 4 :]
    assert "of 3" in tiff.first_page(io.BytesIO(bitten)).notes[0]


@given(st.binary(max_size=300), st.integers(0, 250), st.binary(min_size=1, max_size=6))
def test_no_bytes_do_any_harm(junk: bytes, at: int, patch: bytes) -> None:
    good = classic((256, 4, 1, 5), (271, 2, 9, 60), (34665, 4, 1, 8), order=">") + junk
    for data in (b"II*\0\x08\0\0\0" + junk, good[:at] + patch + good[at:]):
        try:
            page = tiff.first_page(io.BytesIO(data))
        except ValueError:
            continue
        assert 1 <= page.orientation <= 8
        file = io.BytesIO(data)
        tiff.add_exif(file, exif())
        tiff.forget_resolution(file)
