"""Every picture of the shared collection: right as its index says, or refused clearly."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from liif_cli.errors import PictureError
from liif_cli.image.isolate import Reader
from liif_cli.image.picture import Picture, as_float
from liif_cli.image.read import probe
from tests.image.pictures import Row, shared_images, shared_rows

pytestmark = pytest.mark.skipif(not shared_rows(), reason="no shared pictures (LIIF_SHARED)")

SECONDS = 10.0  # a refusal takes milliseconds; this is for a busy machine
MAY_BE_REFUSED = {
    # the index leaves it open, and half a picture or an invented white is worse than none
    "modes/I.tif",
    "hostile/cut-eoi.jpg",
    "hostile/progressive-half.jpg",
    "hostile/bad-crc-idat.png",
    "hostile/bad-adler.png",
    "hostile/no-palette.png",
    "hostile/bomb-screen.gif",
}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


@pytest.mark.parametrize("row", [pytest.param(row, id=row.file) for row in shared_rows()])
def test_it_is_read_as_the_index_says_or_refused_clearly(reader: Reader, row: Row) -> None:
    begin = time.monotonic()
    try:
        picture: Picture | None = reader.read(row.path)
    except PictureError as error:
        picture = None
        assert str(row.path) in str(error)
        assert "\n" not in str(error)
        assert "the decoder" not in str(error), "it crashed or hung"
        assert error.hint
    assert time.monotonic() - begin < SECONDS
    if row.expect == "refuse" or row.file in MAY_BE_REFUSED:
        assert picture is None
        return
    assert picture is not None
    assert (picture.width, picture.height) == (row.width, row.height)
    assert picture.bits == min(row.bits, 16)
    assert (picture.alpha is not None) == row.alpha
    assert row.expect == "ok-warn" or not picture.notes, "what is in order needs no note"
    header = probe(row.path)
    assert (header.width, header.height) == (picture.width, picture.height)
    assert (header.bits, header.alpha) == (picture.bits, picture.alpha is not None)
    assert (header.channels, header.format) == (picture.channels, picture.format)


SAME = [
    ("modes/RGB16.png", "modes/RGB16.tif", 0),
    ("modes/RGB16.png", "modes/RGB16-be.tif", 0),
    ("modes/RGB16.png", "modes/16bit.ppm", 0),
    ("modes/L16.png", "modes/L16.tif", 0),
    ("modes/L16.png", "modes/L16-be.tif", 0),
    ("modes/L16.png", "modes/L16-whiteiszero.tif", 0),
    ("modes/L16.png", "modes/16bit.pgm", 0),
    ("modes/L.png", "modes/L-whiteiszero.tif", 0),
    ("modes/RGB.png", "modes/RGB-adam7.png", 0),
    ("modes/RGB.png", "modes/RGB.tga", 0),
    ("modes/RGB.png", "modes/RGB-topleft.tga", 0),
    ("modes/RGB.png", "modes/24bit.bmp", 0),
    ("modes/RGB.png", "modes/24bit-topdown.bmp", 0),
    ("modes/RGB.png", "modes/32bit-x.bmp", 0),
    ("modes/RGB.png", "modes/8bit.ppm", 0),
    ("modes/RGB.png", "modes/ascii.ppm", 0),
    ("modes/RGB.png", "modes/lzw.tif", 0),
    ("modes/RGB.png", "modes/zstd.tif", 0),
    ("modes/RGB.png", "modes/bigtiff.tif", 0),
    ("modes/RGB.png", "modes/planar.tif", 0),
    ("modes/RGB.png", "modes/lossless.webp", 0),
    ("modes/RGB.png", "modes/ten-bit.avif", 0.02),
    ("modes/RGB.png", "modes/cmyk.tif", 0.05),
    ("modes/cmyk-adobe.jpg", "modes/cmyk-plain.jpg", 0.02),
    ("modes/cmyk-adobe.jpg", "modes/ycck-adobe.jpg", 0.02),
    ("modes/1.png", "modes/1bit.pbm", 0),
    ("modes/1.png", "modes/1-g4.tif", 0),
    ("modes/RGBA.png", "modes/RGBA.pam", 0),
    ("modes/RGBA.png", "modes/RGBA.qoi", 0),
    *((f"orient/exif-{a}.jpg", "orient/exif-1.jpg", 0.04) for a in (*range(2, 9), "6-motorola")),
    *(
        ("orient/exif-1.jpg", f"orient/{b}", 0.04)
        for b in ("exif-6.png", "exif-8.webp", "tag-6.tif", "tag-3.tif")
    ),
    *(
        ("orient/exif-1.jpg", f"orient/{b}", 0.04)
        for b in ("irot.avif", "exif-and-xmp-6.jpg", "exif-6-prefixed.png")
    ),
]


@pytest.mark.parametrize(("one", "other", "tolerance"), SAME)
def test_the_same_picture_in_another_guise_is_the_same(
    reader: Reader, one: str, other: str, tolerance: float
) -> None:
    a, b = (as_float(reader.read(shared_images() / name)) for name in (one, other))
    assert a.shape == b.shape
    assert np.abs(a - b).mean() <= tolerance


@pytest.mark.parametrize("name", ["modes/L16-dark.png", "modes/RGB16-dark.tif"])
def test_a_dark_picture_of_sixteen_bits_stays_one(reader: Reader, name: str) -> None:
    picture = reader.read(shared_images() / name)
    assert picture.pixels.dtype == np.uint16
    assert 200 < picture.pixels.max() < 251


@pytest.mark.parametrize("file", [row.file for row in shared_rows() if "colour/icc-" in row.file])
def test_a_profile_that_is_kept_is_a_sound_one(reader: Reader, file: str) -> None:
    picture = reader.read(shared_images() / file)
    assert (picture.icc is not None) == (file == "colour/icc-150kB.jpg")
    assert picture.icc is not None or any("profile" in note for note in picture.notes)


@pytest.mark.parametrize(
    "file", ["p3.png", "p3.jpg", "p3.webp", "p3.tif", "p3.avif", "p3-16.png", "grey-icc.png", "grey-icc.jpg"]
)
def test_a_sound_profile_is_kept(reader: Reader, file: str) -> None:
    assert reader.read(shared_images() / "colour" / file).icc


@pytest.mark.parametrize(
    "file", ["disc-white-on-black", "disc-green-junk", "disc-16", "disc-la", "disc-hard"]
)
def test_no_ring_shows_around_a_disc_that_is_enlarged(reader: Reader, file: str) -> None:
    from liif_cli.image.alpha import bleed
    from liif_cli.image.resample import resample

    picture = reader.read(shared_images() / "alpha" / f"{file}.png")
    assert picture.alpha is not None
    size = 4 * picture.height, 4 * picture.width
    cover = resample(picture.alpha, size)
    rim = resample(bleed(picture).pixels, size)[cover > 0.01]
    assert rim.min() > 0.99  # white, as the disc
    junk = resample(picture.pixels, size)[cover > 0.01]
    assert junk.min() < 0.5  # what it would have been


def test_names_that_are_hard_to_write_are_read(reader: Reader, tmp_path: Path) -> None:
    source = shared_images() / "names" / "photo.jpe"
    for name in ["a\nb.jpg", 'quo"te.jpg', "tab\t.jpg", "x" * 250 + ".jpg", "--help", " lead.jpg", "*?.jpg"]:
        shutil.copy(source, tmp_path / name)
        assert reader.read(tmp_path / name).width == 48
    raw = bytes(tmp_path) + b"/not-utf8-\xff\xfe.jpg"
    with open(raw, "wb") as file:  # noqa: PTH123 (a Path cannot be made of bytes)
        file.write(source.read_bytes())
    import os

    assert reader.read(Path(os.fsdecode(raw))).width == 48
