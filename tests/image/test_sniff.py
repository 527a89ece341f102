"""What a file is, from its first bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif_cli.image import sniff

KINDS = {
    "PNG": "png",
    "JPEG": "jpeg",
    "TIFF": "tiff",
    "WEBP": "webp",
    "AVIF": "avif",
    "GIF": "gif",
    "BMP": "bmp",
    "PPM": "netpbm",
    "QOI": "qoi",
    "JPEG2000": "jpeg2000",
    "DDS": "dds",
    "ICO": "ico",
    "ICNS": "icns",
}


@pytest.mark.parametrize("format", list(KINDS))
def test_what_pillow_writes_is_recognised(format: str) -> None:
    out = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(out, format)
    kind = sniff.kind_of(out.getvalue()[: sniff.HEAD_BYTES])
    assert kind == KINDS[format]
    assert sniff.is_read(kind)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIC"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "HEIC"),
        (b"\0\0\0\x18ftypM4V \0\0\0\0isomM4V ", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera RAW file"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera RAW file"),
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"MM\0+\0\x08\0\0", "tiff"),
        (b"P7 332\n#XVVERSION", ""),
        (b"P5\n# comment\n", "netpbm"),
        (b"P9\n3 3", ""),
        (b"BM", ""),
        (b"\xef\xbb\xbf  <?xml version='1.0'?>\n<svg xmlns=''/>", "an SVG drawing"),
        (b"<?xml version='1.0'?><feed/>", "a web page or XML text"),
        (b"", "empty"),
        (bytes(300), "nothing but zeros"),
        (b"\0\0\1\0" + bytes(9), "ico"),
        (b"some words", ""),
    ],
)
def test_what_else_lies_about_is_recognised(head: bytes, kind: str) -> None:
    assert sniff.kind_of(head) == kind


@given(st.binary(max_size=64))
def test_any_bytes_are_something_or_nothing(head: bytes) -> None:
    kind = sniff.kind_of(head)
    assert kind == "" or sniff.is_read(kind) or " " in kind or kind in ("empty", "HEIC", "OpenEXR")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize(
    "more", [{}, {"icc_profile": b"odd", "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}]
)
def test_a_webp_tells_whether_it_lost_anything(lossless: bool, frames: int, more: dict[str, bytes]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (frames, 16, 16, 4), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    out = io.BytesIO()
    first.save(out, "WEBP", lossless=lossless, save_all=frames > 1, append_images=others, **more)
    assert sniff.keeps_all(out) == lossless


@given(st.binary(max_size=60))
def test_no_webp_hangs_or_breaks_it(rest: bytes) -> None:
    assert sniff.keeps_all(io.BytesIO(b"RIFF\0\0\0\0WEBP" + rest)) in (True, False)


def test_a_webp_of_endless_chunks_is_given_up() -> None:
    assert not sniff.keeps_all(io.BytesIO(b"RIFF\0\0\0\0WEBP" + 100 * b"EXIF\0\0\0\0" + b"VP8L\0\0\0\0"))
