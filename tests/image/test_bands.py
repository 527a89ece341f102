"""Writing band by band: every format, and nothing that looks complete when it is not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_cli.errors import PictureError
from liif_cli.image import encoders
from liif_cli.image.bands import Canvas, Encoding, Tags, open_bands, write_bands
from liif_cli.image.formats import FORMATS
from liif_cli.image.read import read
from tests.image.pictures import card, exif, noise, profile, samples

EVERY = list(FORMATS)
PIPED = ["jpeg", "tiff"]
ICC = profile()


def canvas_of(pixels: npt.NDArray[Any]) -> Canvas:
    height, width, count = pixels.shape
    return Canvas(
        width=width,
        height=height,
        channels=1 if count < 3 else 3,
        alpha=count % 2 == 0,
        bits=8 * pixels.dtype.itemsize,
    )


def descriptors() -> int:
    """How many files this process has open, 0 where the system does not tell."""
    there = Path("/proc/self/fd")
    return len(list(there.iterdir())) if there.exists() else 0


def nothing_in(folder: Path) -> bool:
    return not list(folder.iterdir())


@settings(max_examples=25)
@given(
    st.data(),
    st.sampled_from(["png", "tiff"]),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 4),
    st.sampled_from([8, 16]),
)
def test_the_size_of_the_bands_is_not_visible(
    data: st.DataObject, format: str, h: int, w: int, count: int, bits: int
) -> None:
    numbers = noise(h, w, count, bits)
    cut = sorted(data.draw(st.lists(st.integers(0, h), max_size=5)))
    out = io.BytesIO()
    write_bands(out, np.split(numbers, cut), canvas_of(numbers), Encoding(format=format))
    assert np.array_equal(samples(read(out.getvalue())), numbers)


@pytest.mark.parametrize("format", EVERY)
def test_floats_are_rounded_once(format: str) -> None:
    values = np.full((9, 11, 3), 0.501, np.float32)
    out = io.BytesIO()
    write_bands(out, [values], Canvas(width=11, height=9, channels=3), Encoding(format=format))
    assert np.abs(read(out.getvalue()).pixels.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("format", EVERY)
def test_profile_exif_xmp_and_density_go_with_the_picture(format: str) -> None:
    pixels = card().pixels
    out = io.BytesIO()
    tags = Tags(icc=ICC, exif=exif(), xmp=b"<x:xmpmeta/>", dpi=(300.0, 150.0))
    notes = write_bands(out, [pixels], canvas_of(pixels), Encoding(format=format), tags)
    assert notes == ()
    picture = read(out.getvalue())
    assert picture.icc == ICC
    assert picture.xmp == b"<x:xmpmeta/>"
    read_back = Image.Exif()
    read_back.load(b"Exif\0\0" + (picture.exif or b""))
    assert read_back[0x010F] == "Some Maker"
    assert read_back.get_ifd(34665)[40962] == 31
    if format in ("png", "jpeg", "tiff"):
        assert picture.dpi is not None
        assert [round(d) for d in picture.dpi] == [300, 150]


@pytest.mark.parametrize("format", EVERY)
def test_nothing_is_said_of_what_is_not_known(format: str) -> None:
    pixels = card().pixels
    out = io.BytesIO()
    write_bands(out, [pixels], canvas_of(pixels), Encoding(format=format))
    picture = read(out.getvalue())
    assert (picture.icc, picture.exif, picture.xmp, picture.dpi) == (None, None, None, None)


def test_exif_goes_into_a_jpeg_byte_for_byte() -> None:
    pixels, block = card().pixels, exif(make=b"M" * 60_000 + b"\0")
    out = io.BytesIO()
    write_bands(out, [pixels], canvas_of(pixels), Encoding(format="jpeg"), Tags(exif=block))
    assert b"M" * 60_000 in out.getvalue()
    assert Image.open(io.BytesIO(out.getvalue())).info["exif"].endswith(b"M\0")


@pytest.mark.parametrize("name", ["exif", "xmp"])
def test_what_does_not_fit_into_a_jpeg_is_left_out_and_said(name: str) -> None:
    block = exif(make=b"M" * 70_000 + b"\0") if name == "exif" else b"<x/>" + b" " * 70_000
    pixels = card().pixels
    out = io.BytesIO()
    notes = write_bands(out, [pixels], canvas_of(pixels), Encoding(format="jpeg"), Tags(**{name: block}))  # type: ignore[arg-type]
    assert len(notes) == 1
    assert name.upper() in notes[0]
    assert getattr(read(out.getvalue()), name) is None


def test_a_grey_profile_does_not_follow_into_a_format_without_grey() -> None:
    grey = card(channels=1).pixels
    out = io.BytesIO()
    notes = write_bands(out, [grey], canvas_of(grey), Encoding(format="webp"), Tags(icc=profile("GRAY")))
    assert "profile" in notes[0]
    assert read(out.getvalue()).icc is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pyramid", [False, True])
def test_a_tiff_holds_exif_of_either_byte_order(order: str, pyramid: bool) -> None:
    pixels = noise(300, 520, 3, 16)
    out = io.BytesIO()
    encoding = Encoding(format="tiff", pyramid=pyramid)
    write_bands(out, [pixels], canvas_of(pixels), encoding, Tags(exif=exif(order=order), icc=ICC))
    picture = read(out.getvalue())
    assert np.array_equal(picture.pixels, pixels)
    assert picture.notes == ()
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert image.getexif()[0x010F] == "Some Maker"
        assert image.getexif().get_ifd(34665)[40963] == 300


def test_a_large_tiff_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_BIGTIFF_BYTES", 1000)
    pixels = noise(40, 40, 3)
    path = tmp_path / "a.tif"
    write_bands(path, [pixels], canvas_of(pixels), Encoding(format="tiff"), Tags(exif=exif()))
    assert path.read_bytes()[:4] == b"II+\0"
    picture = read(path)
    assert np.array_equal(picture.pixels, pixels)
    assert picture.exif


def test_a_pyramid_has_smaller_copies_and_is_still_one_picture() -> None:
    pixels = card(height=600, width=700).pixels
    out = io.BytesIO()
    write_bands(out, [pixels], canvas_of(pixels), Encoding(format="tiff", pyramid=True))
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert getattr(image, "n_frames", 1) > 1
    picture = read(out.getvalue())
    assert np.array_equal(picture.pixels, pixels)
    assert picture.notes == ()


def test_a_jpeg_keeps_full_colour_resolution() -> None:
    pixels = card().pixels
    out = io.BytesIO()
    write_bands(out, [pixels], canvas_of(pixels), Encoding(format="jpeg"))
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert image.info["jfif_unit"] == 0
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_less_quality_is_a_smaller_file(format: str) -> None:
    pixels = noise(64, 64, 3)
    sizes = []
    for quality in (20, 90):
        out = io.BytesIO()
        write_bands(out, [pixels], canvas_of(pixels), Encoding(format=format, quality=quality))
        sizes.append(len(out.getvalue()))
    assert sizes[0] < 0.7 * sizes[1]


def test_lossless_webp_keeps_every_value_even_under_transparency() -> None:
    numbers = noise(30, 30, 4)
    numbers[:10, :, 3] = 0
    out = io.BytesIO()
    write_bands(out, [numbers], canvas_of(numbers), Encoding(format="webp", lossless=True))
    assert np.array_equal(samples(read(out.getvalue())), numbers)


class Died(Exception):
    """What the producer of the rows died of."""


@pytest.mark.parametrize("format", EVERY)
@pytest.mark.parametrize("rows", [0, 1, 700, 999])
def test_a_producer_that_dies_leaves_nothing(tmp_path: Path, format: str, rows: int) -> None:
    canvas = Canvas(width=300, height=1000, channels=3)
    with pytest.raises(Died), open_bands(tmp_path / "a", canvas, Encoding(format=format)) as opened:
        opened.write(noise(rows, 300, 3))
        raise Died
    assert nothing_in(tmp_path)


@pytest.mark.parametrize("format", PIPED)
def test_libvips_itself_fails_when_its_pipe_ends_early(tmp_path: Path, format: str) -> None:
    """Were it to look away, only the rename would keep a complete-looking file from being one."""
    canvas = Canvas(width=300, height=1000, channels=3)
    with (tmp_path / "a").open("w+b") as file:
        encoder = encoders.encoder_of(file, canvas, Encoding(format=format), Tags())
        encoder.rows(noise(700, 300, 3))
        with pytest.raises(Exception, match=r"encoder failed|rows came"):
            encoder.end()
        encoder.close()
        assert isinstance(encoder, encoders._Piped)
        assert encoder._error is not None


@pytest.mark.parametrize("format", EVERY)
def test_missing_and_surplus_rows_leave_nothing(tmp_path: Path, format: str) -> None:
    canvas = Canvas(width=30, height=100, channels=3)
    with pytest.raises(ValueError, match="99 of 100"):
        write_bands(tmp_path / "a", [noise(99, 30, 3)], canvas, Encoding(format=format))
    with pytest.raises(ValueError, match="more than"):
        write_bands(tmp_path / "a", [noise(99, 30, 3)] * 2, canvas, Encoding(format=format))
    with pytest.raises(ValueError, match="rows of"):
        write_bands(tmp_path / "a", [noise(100, 30, 4)], canvas, Encoding(format=format))
    assert nothing_in(tmp_path)


@pytest.mark.parametrize("format", EVERY)
def test_nothing_reaches_a_stream_before_all_is_well(format: str) -> None:
    out = io.BytesIO()
    canvas = Canvas(width=300, height=1000, channels=3)
    with pytest.raises(Died), open_bands(out, canvas, Encoding(format=format)) as opened:
        opened.write(noise(900, 300, 3))
        raise Died
    assert out.getvalue() == b""


@pytest.mark.parametrize("format", PIPED)
def test_no_thread_and_no_descriptor_is_left_behind(tmp_path: Path, format: str) -> None:
    canvas = Canvas(width=30, height=100, channels=3)

    def use() -> None:
        write_bands(tmp_path / "a", [noise(100, 30, 3)], canvas, Encoding(format=format), overwrite=True)
        with pytest.raises(Died), open_bands(tmp_path / "b", canvas, Encoding(format=format)) as opened:
            opened.write(noise(50, 30, 3))
            raise Died

    use()  # libvips keeps some of its own after the first time
    settled = descriptors()
    for _ in range(5):
        use()
    assert not [t for t in threading.enumerate() if t.name == "libvips"]
    assert descriptors() <= settled


def test_a_format_that_cannot_hold_it_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    canvas = Canvas(width=70_000, height=10, channels=3)
    with (
        pytest.raises(PictureError, match="65,500"),
        open_bands(tmp_path / "a", canvas, Encoding(format="jpeg")),
    ):
        raise AssertionError("it was begun")
    assert nothing_in(tmp_path)


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from liif_cli.errors import PictureError
from liif_cli.image.bands import Canvas, Encoding, write_bands
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rows = np.random.default_rng(0).integers(0, 256, (400, 500, 3)).astype(np.uint8)
encoding = Encoding(format=sys.argv[2], quality=100, lossless=sys.argv[2] == "webp")
try:
    write_bands(Path(sys.argv[1]), np.split(rows, 8), Canvas(width=500, height=400, channels=3), encoding)
except PictureError as error:
    print(error)
"""


def _for_stdout() -> None:
    canvas, encoding = Canvas(width=500, height=40, channels=3), Encoding(format="jpeg", quality=100)
    write_bands(io.BytesIO(), [np.zeros((40, 500, 3), np.uint8)], canvas, encoding)


@pytest.mark.usefixtures("no_room")
def test_no_place_to_keep_what_goes_to_stdout_is_said() -> None:
    with pytest.raises(PictureError, match=r"kept in a temporary file.*no usable temporary") as refused:
        _for_stdout()
    assert "TMPDIR" in refused.value.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_so_is_that_its_place_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: Path("/dev/full").open("w+b"))  # noqa: SIM115
    with pytest.raises(PictureError, match=r"kept in a temporary file until it is whole: .*: no space left"):
        _for_stdout()


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on the size of files")
@pytest.mark.parametrize("format", EVERY)
def test_a_file_that_may_not_grow_leaves_nothing_and_says_so(tmp_path: Path, format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a"), format], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "larger than a file may be here" in done.stdout
    assert nothing_in(tmp_path)


STREAM = """
import resource, sys
from pathlib import Path
import numpy as np
from liif_cli.image.bands import Canvas, Encoding, write_bands
rows = np.random.default_rng(0).integers(0, 8, (32, 8000, 3)).astype(np.uint8)
encoding = Encoding(format=sys.argv[2])
before = 0
for count in (1, 200):
    canvas = Canvas(width=8000, height=32 * count, channels=3)
    write_bands(Path(sys.argv[1]) / str(count), (rows for _ in range(count)), canvas, encoding)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown, before = peak - before, peak
print(grown)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in KiB")
@pytest.mark.parametrize("format", ["png", "jpeg", "tiff"])
def test_a_picture_far_larger_than_its_bands_is_written_in_little_memory(tmp_path: Path, format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path), format], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100_000  # KiB; the picture has 150,000
