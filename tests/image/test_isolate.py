"""Reading in another process: the same pictures, and no crash, hang or lie of a decoder ends the run."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liif_cli.errors import PictureError
from liif_cli.image import isolate
from liif_cli.image.isolate import Reader
from liif_cli.image.picture import Picture
from liif_cli.image.read import probe, read
from liif_cli.image.write import write
from tests.image.pictures import card, exif, profile

posix = pytest.mark.skipif(os.name == "nt", reason="needs signals")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    write(card(), path)
    return path


def packed(picture: Picture, format: str = "png") -> bytes:
    out = io.BytesIO()
    write(picture, out, format=format)
    return out.getvalue()


def becoming(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the next child run `body` instead of its reading, with `request` in hand."""
    child = "import json, os, signal, sys, time\nrequest = json.loads(sys.stdin.buffer.readline())\n"
    monkeypatch.setattr(isolate, "_CHILD", child + body)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_comes_through_as_it_is_read_here(
    reader: Reader, channels: int, alpha: bool, bits: int
) -> None:
    plain = card(channels=channels, alpha=alpha, bits=bits)
    tagged = Picture(
        pixels=plain.pixels,
        alpha=plain.alpha,
        bits=bits,
        icc=profile("GRAY" if channels == 1 else "RGB "),
        exif=exif(),
        xmp=b"<x/>",
        dpi=(300.0, 150.0),
    )
    data = packed(tagged)
    there, here = reader.read(data), read(data)
    assert np.array_equal(there.pixels, here.pixels)
    assert there.pixels.dtype == here.pixels.dtype
    assert (there.alpha is None) == (here.alpha is None)
    if there.alpha is not None and here.alpha is not None:
        assert np.array_equal(there.alpha, here.alpha)
    for name in ("bits", "icc", "exif", "xmp", "dpi", "format", "notes"):
        assert getattr(there, name) == getattr(here, name), name


def test_a_refusal_comes_through_with_the_callers_name_and_the_hint(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no picture")
    with pytest.raises(PictureError) as there:
        reader.read(path)
    with pytest.raises(PictureError) as here:
        read(path)
    assert (str(there.value), there.value.hint) == (str(here.value), here.value.hint)


def test_a_path_is_found_from_where_the_caller_stands(
    reader: Reader, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert reader.read("a.png").width == 31
    with pytest.raises(PictureError, match=r"^b\.png: cannot be opened"):
        reader.read(Path("b.png"))


def test_a_header_comes_through_as_it_is_read_here(reader: Reader, file: Path, tmp_path: Path) -> None:
    assert reader.probe(file) == probe(file)
    write(read(file), tmp_path / "kept.webp", lossless=True)
    assert reader.probe(tmp_path / "kept.webp").lossless
    with pytest.raises(PictureError, match=r"missing\.png: cannot be opened"):
        reader.probe(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="too large"):
        reader.probe(file, max_pixels=10)


@posix
def test_a_header_that_crashes_the_decoder_costs_one_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    becoming(monkeypatch, "os.abort()")
    with Reader() as reader, pytest.raises(PictureError, match=r"a\.png: the decoder crashed"):
        reader.probe(file)


def test_streams_and_limits_are_passed_on(reader: Reader, file: Path) -> None:
    assert reader.read(io.BytesIO(file.read_bytes())).width == 31
    with pytest.raises(PictureError, match="too large"):
        reader.read(file, max_pixels=10)


def test_one_child_reads_file_after_file(reader: Reader, file: Path) -> None:
    reader.read(file)
    first = reader._child
    with pytest.raises(PictureError):
        reader.read(b"no picture")
    reader.read(file)
    assert reader._child is first


@posix
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_costs_one_file(file: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    with Reader() as reader:
        with monkeypatch.context() as patch:
            becoming(patch, f"os.kill(os.getpid(), {int(number)})")
            with pytest.raises(PictureError, match=r"a\.png: the decoder crashed"):
                reader.read(file)
        assert reader.read(file).width == 31


@posix
@pytest.mark.usefixtures("no_room")
def test_a_full_disk_costs_no_picture_and_a_crash_is_told_all_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Reader() as reader:
        with monkeypatch.context() as patch:
            becoming(patch, "print('why', file=sys.stderr); sys.exit(3)")
            with pytest.raises(PictureError, match=r"a\.png: the decoder crashed \(it broke off\)"):
                reader.read(file)
        assert reader.read(file).width == 31


def test_a_hang_costs_one_file_and_bounded_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Reader(seconds=0.3) as reader:
        with monkeypatch.context() as patch:
            becoming(patch, "time.sleep(60)")
            begin = time.monotonic()
            with pytest.raises(PictureError, match="the decoder was stopped after 0 seconds"):
                reader.read(file)
            assert time.monotonic() - begin < 10
        reader._seconds = 60
        assert reader.read(file).width == 31


LIES: list[dict[str, Any] | str] = [
    "not json",
    {},
    {"shape": [3, 3, 3]},
    {"shape": [10**6, 10**6, 3]},
    {"shape": [0, 5, 3]},
    {"shape": [5, 5, 2]},
    {"shape": "abc"},
    {"shape": [5, 5, 3], "icc": 1 << 60},
    {"shape": [5, 5, 3], "icc": -1},
    {"shape": [5, 5, 3], "dpi": [1]},
    {"shape": [5, 5, 3], "dtype": "object"},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_an_answer_that_cannot_be_is_a_crash_like_any_other(
    file: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any] | str
) -> None:
    usual = {"dtype": "uint8", "alpha": False, "bits": 8, "dpi": None, "format": "png", "notes": []}
    usual |= {"icc": None, "exif": None, "xmp": None}
    line = (
        lie
        if isinstance(lie, str)
        else json.dumps(usual | lie if "shape" in lie and lie["shape"] != [3, 3, 3] else lie)
    )
    becoming(monkeypatch, f"sys.stdout.write({line!r} + chr(10)); sys.stdout.flush()")
    with Reader() as reader, pytest.raises(PictureError, match="crashed"):
        reader.read(file)


def test_a_bug_of_ours_in_the_child_is_no_refusal(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    becoming(monkeypatch, "print(json.dumps({'bug': 'Traceback ...'})); sys.stdout.flush(); time.sleep(60)")
    with Reader() as reader, pytest.raises(RuntimeError, match="Traceback"):
        reader.read(file)


def test_a_library_that_prints_does_not_print_into_the_answer(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = isolate._CHILD.replace(
        "serve()\n",
        "import liif_cli.image.isolate as i, os\nreal = i.read\n"
        "def read(*a, **k):\n    os.write(1, b'warning: odd tag\\n')\n    return real(*a, **k)\n"
        "i.read = read\nserve()\n",
    )
    assert noisy != isolate._CHILD
    monkeypatch.setattr(isolate, "_CHILD", noisy)
    with Reader() as reader:
        assert reader.read(file).width == 31
        assert reader.read(file).width == 31


def test_modules_in_the_users_folder_are_not_imported(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken for the real one')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken for the real one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as in an interactive session
    with Reader() as reader:
        assert reader.read(file).width == 31


@posix
def test_the_child_ends_with_its_parent(tmp_path: Path, file: Path) -> None:
    parent = (
        "import sys, time\nfrom liif_cli.image.isolate import Reader\n"
        "reader = Reader(); reader.read(sys.argv[1]); print(reader._child.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{child}/stat")
        if state.exists() and state.read_text().split()[2] == "Z":
            return  # dead, and waiting for whoever inherits it
        time.sleep(0.05)
    raise AssertionError("the child is still there")


def test_closing_twice_and_never_starting_are_fine() -> None:
    reader = Reader()
    reader.close()
    reader.start()
    reader.close()
    reader.close()
