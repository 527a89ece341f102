"""Which way is up, and what EXIF and XMP say once the picture stands upright."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from liif_cli.image import metadata, tiff
from tests.image.pictures import exif

BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
XMP = b"<rdf:Description xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/>"


def of_pillow(block: bytes) -> Image.Exif:
    read = Image.Exif()
    read.load(b"Exif\0\0" + block)
    return read


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(orientation: int) -> None:
    from PIL import ImageOps

    stored = np.arange(35, dtype=np.uint8).reshape(5, 7)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    turned = metadata.turned(stored, orientation)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_turn_has_one_that_undoes_it(orientation: int) -> None:
    stored = np.arange(35).reshape(5, 7)
    assert np.array_equal(metadata.turned(metadata.turned(stored, orientation), BACK[orientation]), stored)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_the_orientation_is_read_in_both_byte_orders_and_all_whole_types(order: str, kind: int) -> None:
    assert metadata.orientation(exif(6, order=order, kind=kind)) == 6


@pytest.mark.parametrize("nonsense", [0, 9, 65535])
def test_a_nonsense_orientation_means_upright(nonsense: int) -> None:
    assert metadata.orientation(exif(nonsense)) == 1
    assert metadata.orientation(exif(6, kind=2)) == 1  # a letter


def test_exif_goes_before_xmp_and_xmp_before_nothing() -> None:
    assert metadata.orientation(exif(3), XMP) == 3
    assert metadata.orientation(None, XMP) == 6
    assert metadata.orientation(None, b"<tiff:Orientation>8</tiff:Orientation>") == 8
    assert metadata.orientation(None, b"no packet") == 1
    assert metadata.orientation(None, None) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_upright_block_keeps_everything_but_the_orientation_and_the_thumbnail(order: str) -> None:
    block = exif(6, order=order, thumbnail=True)
    upright = metadata.upright_exif(block)
    assert len(upright) == len(block)  # changed in place: offsets in maker notes stay right
    assert metadata.orientation(upright) == 1
    read = of_pillow(upright)
    assert read[0x010F] == "Some Maker"
    assert read.get_ifd(34665)[40962] == 31
    structure = tiff.of_bytes(upright)
    assert structure.directory(structure.first).next == 0
    original = tiff.of_bytes(block)
    assert original.directory(original.first).next != 0


def test_a_block_tells_the_new_size() -> None:
    read = of_pillow(metadata.resized_exif(exif(), 100_000, 70_000))
    assert read.get_ifd(34665)[40962] == 100_000
    assert read.get_ifd(34665)[40963] == 70_000
    assert read[0x010F] == "Some Maker"


def test_xmp_stands_upright_too() -> None:
    upright = metadata.upright_xmp(XMP)
    assert metadata.orientation(None, upright) == 1
    assert len(upright) == len(XMP)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        b"",
        b"Exif\0\0",
        b"nonsense",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II+\0" + bytes(40),
    ],
)
def test_a_broken_block_is_no_block(broken: bytes | None) -> None:
    assert metadata.exif_block(broken) is None


def test_a_bigtiff_is_no_exif_block() -> None:
    import pyvips

    assert metadata.exif_block(pyvips.Image.black(9, 9).tiffsave_buffer(bigtiff=True)) is None
    assert metadata.exif_block(pyvips.Image.black(9, 9).tiffsave_buffer()) is not None


def test_a_prefix_is_taken_off_however_often_it_is_there() -> None:
    assert metadata.exif_block(b"Exif\0\0Exif\0\0" + exif()) == exif()


def test_a_directory_that_leads_back_to_itself_has_an_end() -> None:
    block = bytearray(exif(thumbnail=True))
    structure = tiff.of_bytes(bytes(block))
    at = structure.directory(structure.first).next_at
    block[at : at + 4] = (8).to_bytes(4, "little")
    assert len(list(tiff.of_bytes(bytes(block)).directories())) == 1


@given(st.binary(max_size=200), st.integers(0, 150), st.binary(min_size=1, max_size=4))
@example(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 0, b"I")
def test_no_block_of_bytes_does_any_harm(block: bytes, at: int, patch: bytes) -> None:
    good = exif(6, thumbnail=True)
    for data in (block, b"II*\0\x08\0\0\0" + block, good[:at] + patch + good[at + len(patch) :]):
        sound = metadata.exif_block(data)
        if sound is not None:
            assert 1 <= metadata.orientation(sound) <= 8
            assert metadata.orientation(metadata.upright_exif(sound)) == 1
            metadata.resized_exif(sound, 10, 10)
