"""PGM, PPM and PAM at every depth."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif_cli.errors import PictureError
from liif_cli.image.read import read
from tests.image.pictures import noise, samples


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_sample_of_a_raw_file_is_kept(channels: int, bits: int) -> None:
    pixels = noise(5, 7, channels, bits)
    head = f"P{5 if channels == 1 else 6}\n# made by a test\n7 5\n{(1 << bits) - 1}\n".encode()
    picture = read(head + pixels.astype(">u2" if bits == 16 else "u1").tobytes())
    assert picture.bits == bits
    assert np.array_equal(picture.pixels, pixels)


@pytest.mark.parametrize(("tuple_type", "bands"), [("GRAYSCALE_ALPHA", 2), ("RGB", 3), ("RGB_ALPHA", 4)])
@pytest.mark.parametrize("bits", [8, 16])
def test_pam_carries_alpha(tuple_type: str, bands: int, bits: int) -> None:
    numbers = noise(5, 7, bands, bits)
    head = f"P7\nWIDTH 7\nHEIGHT 5\nDEPTH {bands}\nMAXVAL {(1 << bits) - 1}\nTUPLTYPE {tuple_type}\nENDHDR\n"
    picture = read(head.encode() + numbers.astype(">u2" if bits == 16 else "u1").tobytes())
    assert (picture.alpha is not None) == (bands % 2 == 0)
    assert np.array_equal(samples(picture), numbers)


@given(st.integers(1, 65535))
def test_the_maximum_is_white_and_the_rest_in_proportion(maxval: int) -> None:
    levels = np.unique(np.linspace(0, maxval, 50).astype(int))
    text = f"P2 {len(levels)} 1 {maxval}\n{' '.join(map(str, levels))}\n"
    pixels = read(text.encode()).pixels[0, :, 0]
    top = 255 if maxval < 256 else 65535
    assert np.array_equal(pixels, np.floor(levels * top / maxval + 0.5))


def test_written_out_numbers_equal_raw_ones() -> None:
    pixels = noise(4, 3, 3)
    text = "P3 # comment\n3 4\n# another\n255\n" + "\n".join(map(str, pixels.ravel()))
    assert np.array_equal(read(text.encode()).pixels, pixels)


def test_bitmaps_and_floats_are_left_to_pillow() -> None:
    black = io.BytesIO()
    Image.new("1", (9, 5), 0).save(black, "PPM")
    assert (read(black.getvalue()).pixels == 0).all()
    floats = b"Pf\n2 2\n-1.0\n" + np.array([0, 0.25, 0.5, 1], "<f4").tobytes()
    assert set(read(floats).pixels.ravel().tolist()) == {0, 16384, 32768, 65535}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"P6 2 2 255\n" + bytes(9), "1 of 2 rows are missing"),
        (b"P5 2 2 0\n" + bytes(4), "maximum"),
        (b"P5 2 2 70000\n" + bytes(8), "maximum"),
        (b"P5 -2 2 255\n" + bytes(4), "header"),
        (b"P3 1 1 255\n1 2 x", "no number"),
        (b"P3 1 1 255\n1 2", "missing"),
        (b"P2 1 1 255\n-3", "negative"),
        (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 5\nMAXVAL 255\nENDHDR\n" + bytes(20), "5 channels"),
        (b"P7\nWIDTH 2\nMAXVAL 255\nENDHDR\n" + bytes(20), "header"),
        (b"P7\nWIDTH 2\n", "no end"),
        (b"P6 0 2 255\n", "0x2"),
    ],
)
def test_what_is_broken_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(PictureError, match=why):
        read(data)
