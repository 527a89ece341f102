"""PNG chunks in and out."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif_cli.errors import PictureError
from liif_cli.image import png
from liif_cli.image.read import read
from tests.image.pictures import exif, noise, samples


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(data: bytes, kind: bytes, content: bytes, *, behind: bool = False) -> bytes:
    """`data` with one more chunk, before the pixels or behind them."""
    at = data.index(b"IEND") - 4 if behind else 33
    return data[:at] + chunk(kind, content) + data[at:]


def packed(pixels: npt.NDArray[Any], *, level: int = 4, cut: tuple[int, ...] = ()) -> bytes:
    """By `png.Writer`, the rows handed over in pieces that end at `cut`."""
    out = io.BytesIO()
    height, width, bands = pixels.shape
    writer = png.Writer(
        out.write, width=width, height=height, samples=bands, bits=8 * pixels.dtype.itemsize, level=level
    )
    for rows in np.split(pixels, sorted(cut)):
        writer.rows(rows)
    writer.end()
    return out.getvalue()


@given(
    st.data(),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from([8, 16]),
    st.sampled_from([0, 1, 4]),
)
def test_what_is_written_is_read(
    data: st.DataObject, h: int, w: int, bands: int, bits: int, level: int
) -> None:
    numbers = noise(h, w, bands, bits)
    cut = tuple(data.draw(st.lists(st.integers(0, h), max_size=4)))
    file = packed(numbers, level=level, cut=cut)
    assert np.array_equal(samples(read(file)), numbers)
    if bits == 8:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))).reshape(numbers.shape), numbers)


def test_bands_larger_than_a_block_are_filtered_as_one() -> None:
    numbers = noise(1200, 500, 3)  # 1.8 MB: several blocks
    assert np.array_equal(read(packed(numbers)).pixels, numbers)


def test_a_smooth_picture_is_packed_about_as_well_as_pillow_does() -> None:
    y, x = np.mgrid[:400, :500]
    waves = 127 + 60 * np.sin(x / 37) + 60 * np.cos(y / 23)
    pixels = (waves[..., None] + np.random.default_rng(0).integers(0, 3, (400, 500, 3))).astype(np.uint8)
    theirs = io.BytesIO()
    Image.fromarray(pixels).save(theirs, "PNG")
    assert len(packed(pixels)) < 1.2 * len(theirs.getvalue())


def test_missing_and_surplus_rows_are_errors() -> None:
    writer = png.Writer(io.BytesIO().write, width=3, height=4, samples=1, bits=8)
    writer.rows(noise(3, 3, 1))
    with pytest.raises(ValueError, match="3 rows came"):
        writer.end()
    with pytest.raises(ValueError, match="5 rows"):
        writer.rows(noise(2, 3, 1))


def test_more_than_a_million_pixels_wide_is_read_back() -> None:
    numbers = noise(2, 1_200_000, 1)  # libpng's own limit is a million
    assert np.array_equal(read(packed(numbers)).pixels, numbers)


def test_exif_behind_the_pixels_turns_the_picture() -> None:
    file = packed(noise(300, 40, 3))
    assert len(file) > 16384  # more than one buffer of a file
    picture = read(with_chunk(file, b"eXIf", exif(6), behind=True))
    assert (picture.width, picture.height) == (300, 40)


def test_chunks_are_found_in_a_file_that_libvips_has_read_too(tmp_path: Any) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(packed(noise(300, 40, 3)), b"eXIf", exif(6), behind=True))
    picture = read(path)
    assert picture.width == 300
    assert picture.exif


@pytest.mark.parametrize(
    ("kind", "content", "note"),
    [
        (b"gAMA", struct.pack(">I", 100_000), "gAMA"),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000), "cHRM"),
        (b"cICP", b"\x09\x10\0\x01", "cICP"),
        (b"acTL", struct.pack(">II", 3, 0), "first of 3 frames"),
    ],
)
def test_what_is_lost_is_said(kind: bytes, content: bytes, note: str) -> None:
    picture = read(with_chunk(packed(noise(4, 4, 3)), kind, content))
    assert [note in n for n in picture.notes] == [True]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"acTL", struct.pack(">II", 1, 0)),
        (b"gAMA", b""),
    ],
)
def test_what_is_not_lost_is_not_said(kind: bytes, content: bytes) -> None:
    assert not png.notes({kind: content} if len(content) else {})


@pytest.mark.parametrize(
    ("content", "dpi"),
    [
        (struct.pack(">IIB", 11811, 5906, 1), (300, 150)),
        (struct.pack(">IIB", 2, 1, 0), (144, 72)),
        (struct.pack(">IIB", 1, 1, 0), None),
        (struct.pack(">IIB", 0, 0, 1), None),
        (b"short", None),
    ],
)
def test_density(content: bytes, dpi: tuple[int, int] | None) -> None:
    found = png.dpi(content)
    assert (found and (round(found[0]), round(found[1]))) == dpi


def damaged(file: bytes) -> str:
    with pytest.raises(PictureError) as refused:
        read(file)
    return str(refused.value)


def test_missing_rows_are_counted() -> None:
    file = packed(noise(100, 50, 3))
    assert "rows are missing" in damaged(file[: len(file) // 2])
    count = int(damaged(file[: len(file) // 2]).split(" of 100 rows")[0].rsplit(" ", 1)[1])
    assert 45 <= count <= 55


def test_a_wrong_checksum_of_the_pixels_is_damage() -> None:
    file = bytearray(packed(noise(10, 10, 3)))
    end = file.index(b"IEND") - 8
    file[end : end + 4] = b"\0\0\0\0"
    assert "checksum" in damaged(bytes(file))


def test_a_wrong_checksum_of_a_comment_is_none() -> None:
    file = bytearray(with_chunk(packed(noise(10, 10, 3)), b"tEXt", b"Comment\0hello"))
    at = file.index(b"hello") + 5
    file[at : at + 4] = b"\0\0\0\0"
    assert np.array_equal(read(bytes(file)).pixels, noise(10, 10, 3))
