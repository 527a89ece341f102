"""A picture to a file and back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif_cli.errors import PictureError
from liif_cli.image.formats import FORMATS
from liif_cli.image.picture import Picture, quantize
from liif_cli.image.read import read
from liif_cli.image.write import write
from tests.image.pictures import card, exif, noise, profile, samples


def packed(picture: Picture, **options: object) -> bytes:
    out = io.BytesIO()
    write(picture, out, **options)  # type: ignore[arg-type]
    return out.getvalue()


@given(
    st.sampled_from(["png", "tiff"]),
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.sampled_from([8, 16]),
)
def test_what_is_written_is_read(format: str, h: int, w: int, channels: int, alpha: bool, bits: int) -> None:
    numbers = noise(h, w, channels + alpha, bits)
    picture = Picture(
        pixels=numbers[..., :channels],
        alpha=numbers[..., channels] if alpha else None,
        bits=bits,
        icc=profile("GRAY" if channels == 1 else "RGB "),
    )
    again = read(packed(picture, format=format))
    assert np.array_equal(samples(again), numbers)
    assert (again.bits, again.icc, again.notes) == (bits, picture.icc, ())


@pytest.mark.parametrize("format", list(FORMATS))
def test_pillow_reads_what_is_written(format: str) -> None:
    with Image.open(io.BytesIO(packed(card(), format=format, quality=95))) as image:
        image.load()
        assert image.size == (31, 24)
        assert np.abs(np.asarray(image).astype(int) - card().pixels).mean() < 3


def test_the_name_chooses_the_format_then_the_picture_does(tmp_path: Path) -> None:
    write(card(), tmp_path / "a.webp")
    assert read(tmp_path / "a.webp").format == "webp"
    write(read(tmp_path / "a.webp"), tmp_path / "b")
    assert read(tmp_path / "b").format == "webp"
    write(card(), tmp_path / "c")
    assert read(tmp_path / "c").format == "png"
    write(card(), tmp_path / "d.png", format="jpg")
    assert read(tmp_path / "d.png").format == "jpeg"


def test_the_depth_can_be_chosen() -> None:
    deep = card(bits=16)
    shallow = read(packed(deep, format="png", bits=8))
    assert shallow.bits == 8
    assert np.array_equal(shallow.pixels, quantize(deep.pixels / 65535, 8))
    back = read(packed(card(), format="png", bits=16))
    assert np.array_equal(back.pixels, card().pixels.astype(int) * 257)


def test_computed_floats_are_written_at_the_depth_they_are_worth() -> None:
    values = np.full((4, 4, 3), 0.5, np.float32)
    assert (read(packed(Picture(pixels=values), format="png")).pixels == 128).all()
    assert (read(packed(Picture(pixels=values, bits=16), format="png")).pixels == 32768).all()


@pytest.mark.parametrize("icc", ["keep", "srgb", "strip"])
@pytest.mark.parametrize("metadata", ["keep", "strip"])
@pytest.mark.parametrize("format", list(FORMATS))
def test_profile_and_metadata_can_be_left_out(format: str, icc: str, metadata: str) -> None:
    picture = Picture(
        pixels=card().pixels, icc=profile(gamma=1.0), exif=exif(), xmp=b"<x:xmpmeta/>", dpi=(300.0, 300.0)
    )
    again = read(packed(picture, format=format, icc=icc, metadata=metadata))
    assert (again.icc is not None) == (icc == "keep")
    assert (again.exif is not None) == (again.xmp is not None) == (metadata == "keep")
    assert again.dpi is None or metadata == "keep"
    brighter = float(again.pixels.mean()) - float(picture.pixels.mean())
    assert (brighter > 20) == (icc == "srgb")


def test_a_format_that_cannot_hold_the_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="16 bits"):
        write(card(bits=16), tmp_path / "a.jpg")
    with pytest.raises(PictureError, match="transparency"):
        write(card(alpha=True), tmp_path / "a.jpg")
    write(card(bits=16), tmp_path / "a.jpg", bits=8)
    with pytest.raises(PictureError, match="exists already"):
        write(card(), tmp_path / "a.jpg")
    write(card(channels=1), tmp_path / "a.jpg", overwrite=True)
    assert read(tmp_path / "a.jpg").channels == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_the_size_in_exif_becomes_that_of_the_picture() -> None:
    picture = Picture(pixels=card(height=70, width=90).pixels, exif=exif())
    again = Image.Exif()
    again.load(b"Exif\0\0" + (read(packed(picture, format="jpeg")).exif or b""))
    assert (again.get_ifd(34665)[40962], again.get_ifd(34665)[40963]) == (90, 70)
