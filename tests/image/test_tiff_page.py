"""What a TIFF file says beside its pixels, read and written without touching them."""

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
from liif_cli.image.tiff_page import add_exif, first_page, forget_resolution
from tests.image.pictures import card, exif
from tests.image.test_tiff import classic


def saved(**options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(card().pixels).save(out, "TIFF", **options)
    return out.getvalue()


def test_a_resolution_without_a_unit_is_none() -> None:
    data = saved(dpi=(300, 200))
    assert first_page(io.BytesIO(data)).dpi == (300.0, 200.0)
    file = io.BytesIO(data)
    forget_resolution(file)
    assert first_page(file).dpi is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_added_and_found_again(order: str) -> None:
    file = io.BytesIO(saved())
    add_exif(file, exif(6, order=order))
    assert np.array_equal(read(file.getvalue()).pixels, card().pixels)  # and not turned
    with Image.open(io.BytesIO(file.getvalue())) as image:
        image.load()
        assert image.getexif()[271] == "Some Maker"
        assert image.getexif().get_ifd(34665)[40962] == 31
    block = first_page(io.BytesIO(file.getvalue())).exif
    assert block is not None
    again = Image.Exif()
    again.load(b"Exif\0\0" + block)
    assert again[271] == "Some Maker"
    assert again.get_ifd(34665)[40963] == 24


def test_what_a_file_says_already_is_not_overwritten() -> None:
    file = io.BytesIO(saved(tiffinfo={271: "First"}))
    add_exif(file, exif())
    with Image.open(io.BytesIO(file.getvalue())) as image:
        assert image.getexif()[271] == "First"


def test_pages_are_counted_without_copies_and_to_the_end_of_the_chain() -> None:
    frames = [Image.fromarray(card().pixels)] * 3
    data = saved(save_all=True, append_images=frames[1:])
    assert first_page(io.BytesIO(data)).notes == ("of several pages: the first of 3 was taken",)
    structure = tiff.of_bytes(data)
    last = list(structure.directories())[-1]
    bitten = data[: last.next_at] + struct.pack("<I", structure.first) + data[last.next_at + 4 :]
    assert "of 3" in first_page(io.BytesIO(bitten)).notes[0]


def test_the_whole_picture_is_taken_where_a_smaller_copy_stands_first() -> None:
    copy, whole_ = (Image.fromarray(card(height=h, width=h + 5).pixels) for h in (12, 48))
    for compression in ("tiff_lzw", "zstd"):  # libvips reads the one, Pillow the other
        data = bytearray(saved_pages(copy, whole_, compression=compression))
        structure = tiff.of_bytes(bytes(data))
        first = structure.directory(structure.first).entries[254]
        data[first.at : first.at + 4] = struct.pack("<I", 1)
        picture = read(bytes(data))
        assert (picture.width, picture.height) == (53, 48)
        assert any("a smaller copy stands first" in note for note in picture.notes)
        assert np.array_equal(picture.pixels, np.array(whole_))


def saved_pages(*pages: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    tagged = {"tiffinfo": {254: 0}, **options}
    pages[0].save(out, "TIFF", save_all=True, append_images=list(pages[1:]), **tagged)
    return out.getvalue()


@given(st.binary(max_size=300), st.integers(0, 250), st.binary(min_size=1, max_size=6))
def test_no_bytes_do_any_harm(junk: bytes, at: int, patch: bytes) -> None:
    good = classic((256, 4, 1, 5), (271, 2, 9, 60), (34665, 4, 1, 8), order=">") + junk
    for data in (b"II*\0\x08\0\0\0" + junk, good[:at] + patch + good[at:]):
        try:
            page = first_page(io.BytesIO(data))
        except ValueError:
            continue
        assert 1 <= page.orientation <= 8
        file = io.BytesIO(data)
        add_exif(file, exif())
        forget_resolution(file)
