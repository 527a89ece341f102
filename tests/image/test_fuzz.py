"""Damaged files of every format: a picture or a clear refusal, never anything else.

A few examples each time; more with HYPOTHESIS_MAX_EXAMPLES, for instance 20000 over night.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_cli.errors import PictureError
from liif_cli.image.by_vips import library
from liif_cli.image.isolate import Reader
from tests.image.pictures import card, exif, profile, samples

EXAMPLES = int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "150"))


def seeds() -> dict[str, bytes]:
    """A small sound file of every format there is, with metadata where it has any."""
    plain, clear = (
        Image.fromarray(card().pixels),
        Image.fromarray(np.ascontiguousarray(samples(card(alpha=True)))),
    )
    tags: dict[str, Any] = {"exif": b"Exif\0\0" + exif(6), "icc_profile": profile()}
    wanted: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("PNG", clear, tags),
        ("PNG", plain.quantize(16), {"transparency": 3}),
        ("PNG", plain.convert("L"), {}),
        ("JPEG", plain, tags),
        ("JPEG", plain, {"progressive": True}),
        ("JPEG", plain.convert("CMYK"), {}),
        ("TIFF", clear, {"icc_profile": profile()}),
        *(
            ("TIFF", plain, {"compression": c})
            for c in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "packbits")
        ),
        ("TIFF", plain.convert("1"), {"compression": "group4"}),
        ("WEBP", clear, tags),
        ("WEBP", plain, {"lossless": True}),
        ("AVIF", clear, {"exif": exif()}),
        ("GIF", plain.quantize(16), {"save_all": True, "append_images": [plain.rotate(90).quantize(16)]}),
        *(
            (format, plain, {})
            for format in ("BMP", "TGA", "PCX", "SGI", "DDS", "QOI", "JPEG2000", "ICO", "PPM", "ICNS")
        ),
    ]
    made = {}
    for number, (format, image, options) in enumerate(wanted):
        out = io.BytesIO()
        image.save(out, format, **options)
        made[f"{format} {number}"] = out.getvalue()
    for compression in ("none", "deflate", "jpeg"):
        image = library().Image.new_from_memory(card().pixels.tobytes(), 31, 24, 3, "uchar")
        tiles = {"tile": True, "tile_width": 16, "tile_height": 16, "compression": compression}
        made[f"TIFF in tiles, {compression}"] = image.copy(interpretation="srgb").tiffsave_buffer(**tiles)
    return made


SEEDS = seeds()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(seconds=20) as reader:
        yield reader


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """One of the seeds, cut, overwritten, or with something put into it."""
    data = SEEDS[draw(st.sampled_from(sorted(SEEDS)))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if draw(st.booleans()):
            at = min(at, 200)  # where the headers are
        junk = draw(st.binary(min_size=1, max_size=8))
        how = draw(st.sampled_from(["write", "put", "cut", "drop"]))
        if how == "write":
            data = data[:at] + junk + data[at + len(junk) :]
        elif how == "put":
            data = data[:at] + junk + data[at:]
        elif how == "drop":
            data = data[:at] + data[at + len(junk) :]
        else:
            data = data[: max(at, 1)]
    return data


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_the_seeds_are_sound(reader: Reader, name: str) -> None:
    assert reader.read(SEEDS[name]).width in (24, 31, 1024)


@settings(max_examples=EXAMPLES)
@given(data=damaged())
def test_a_damaged_file_is_read_or_refused(reader: Reader, data: bytes) -> None:
    try:
        picture = reader.read(data, max_pixels=50_000_000)
    except PictureError as error:
        assert "the decoder" not in str(error), "it crashed or hung"
        assert "\n" not in str(error)
    else:
        assert picture.pixels.size == picture.height * picture.width * picture.channels
