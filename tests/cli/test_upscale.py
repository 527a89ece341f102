"""`liif upscale` as it is typed: what it writes, what it says, its exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from liif_cli.cli import console
from liif_cli.cli.app import main
from liif_cli.folder import local
from liif_cli.image import isolate
from liif_cli.image.picture import Picture
from liif_cli.image.read import probe, read
from liif_cli.image.write import write
from liif_cli.nn.model import build
from liif_cli.weights import store
from tests.conftest import TINY, ReaderHere

Captured = pytest.CaptureFixture[str]
Liif = Callable[..., int]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    store.write(path, TINY["light"], build(TINY["light"], seed=1).state_dict())
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Picture) -> Path:
    """The folder everything happens in, with one picture."""
    monkeypatch.chdir(tmp_path)
    write(photo, Path("a.png"))
    return tmp_path


@pytest.fixture
def liif(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Liif:
    """`liif upscale` with the tiny model, in float32 on one thread."""
    monkeypatch.setattr(local, "Reader", ReaderHere)
    monkeypatch.setattr(isolate, "Reader", ReaderHere)

    def run(*arguments: str) -> int:
        return main(["upscale", "-m", str(weights), "--precision", "fp32", "--threads", "1", *arguments])

    return run


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Put bytes into stdin."""

    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def size(path: str | Path) -> tuple[int, int]:
    picture = read(Path(path))
    return picture.width, picture.height


def listed(folder: str | Path = ".") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Sizes


@pytest.mark.parametrize(
    ("arguments", "name", "wanted"),
    [
        ([], "a_x2.png", (88, 60)),
        (["--scale", "1.25"], "a_x1.25.png", (55, 38)),
        (["-s", "2x3.5"], "a_x2x3.5.png", (88, 105)),
        (["-s", "150%"], "a_x1.5.png", (66, 45)),
        (["--size", "100x100"], "a_100x68.png", (100, 68)),
        (["--size", "100x100", "--fit", "crop", "--gravity", "east"], "a_100x100.png", (100, 100)),
        (["--size", "100x100", "--fit", "pad", "--background", "#f00"], "a_100x100.png", (100, 100)),
        (["--size", "x60"], "a_88x60.png", (88, 60)),
        (["--size", "0.01MP"], "a_121x83.png", (121, 83)),
        (["-s", "0.5x2"], "a_x0.5x2.png", (22, 60)),
        (["-s", "2", "--region", "pct:50,0,50,100"], "a_x2_44x60pct+50+0.png", (44, 60)),
        (["-s", "2", "--cell", "0.8"], "a_x2.png", (88, 60)),
    ],
)
def test_sizes(liif: Liif, arguments: list[str], name: str, wanted: tuple[int, int]) -> None:
    assert liif("a.png", *arguments) == 0
    assert size(name) == wanted


def test_a_tile_is_not_visible(liif: Liif) -> None:
    for tile, memory in (("9", "1G"), ("31", "1G"), ("1000", "150M")):
        assert liif("a.png", "-s", "3", "--tile", tile, "--memory", memory, "-o", f"{tile}.png") == 0
    pictures = [read(Path(f"{tile}.png")).pixels.astype(int) for tile in (9, 31, 1000)]
    assert max(np.abs(pictures[0] - other).max() for other in pictures[1:]) <= 1


def test_the_self_ensemble_is_another_picture_of_the_same_size(liif: Liif) -> None:
    assert liif("a.png", "-s", "1.5x2") == liif("a.png", "-s", "1.5x2", "-x", "-o", "x.png") == 0
    assert size("x.png") == size("a_x1.5x2.png")
    assert not np.array_equal(read(Path("x.png")).pixels, read(Path("a_x1.5x2.png")).pixels)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-s", "0"], "--scale 0: not a factor"),
        (["-s", ""], "an argument is empty"),
        (["--size", ""], "an argument is empty"),
        (["--region", ""], "an argument is empty"),
        (["-m", ""], "an argument is empty"),
        (["-o", "b.jpgg"], "cannot write '.jpgg' files"),
        (["--lossless", "-Q", "50"], "contradict each other"),
        (["--background", "red"], "--background is about"),
        (["--only-enlarge", "--region", "0,0,5,5"], "exclude each other"),
        (["--fit", "pud"], "did you mean 'pad'?"),
        (["-Q", "x"], "not a whole number"),
        (["--scal", "2"], "did you mean --scale?"),
        (["--threads", "9999"], "less than or equal to 1024"),
        (["--verify", "101"], "less than or equal to 100"),
        (["-s", "nan"], "--scale nan: not a factor"),
        (["--size", "0x5"], "--size 0x5: not a size"),
        (["-s", "2", "--size", "5"], "--scale and --size"),
        (["-s", "2", "--fit", "crop"], "--fit is about --size"),
        (["--size", "100x", "--fit", "crop"], "--fit is about --size"),
        (["--size", "9x9", "--gravity", "north"], "--gravity is about --fit"),
        (["--region", "1,2,3"], "--region 1,2,3: not a window"),
        (["--background", "bluu"], "--background bluu: not a colour"),
        (["--max-pixels", "many"], "--max-pixels many: not a number"),
        (["--max-input-pixels", "0"], "--max-input-pixels 0: not a number"),
        (["--bits", "10"], "--bits 10: 8 or 16"),
        (["--cell", "0"], "--cell 0.0: not from"),
        (["--memory", "lots"], "--memory lots: not a size"),
        (["--device", "gpu"], "--device gpu: unknown"),
        (["--precision", "fp16", "--device", "cpu"], "fp16 on a CPU"),
        (["-f", "bmp"], "cannot write 'bmp' files"),
        (["--name", "{stam}"], "unknown {stam}"),
        (["-y", "--if-exists", "skip"], "contradict"),
        (["--null"], "--null is about --files-from"),
        (["--files-from", "missing"], "--files-from missing: no such file"),
        (["-", "--files-from", "-"], "both a picture and the list"),
        (["b.png", "-o", "c.png"], "several inputs, and one file"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused_with_status_2(
    liif: Liif, capsys: Captured, here: Path, arguments: list[str], said: str
) -> None:
    assert liif("a.png", *arguments) == 2
    captured = capsys.readouterr()
    assert f"error: {said}" in captured.err or said in captured.err.split("error: ")[-1]
    assert captured.out == "" and listed(here) == ["a.png"]


# Inputs


def test_a_tree_is_mirrored_and_what_is_no_picture_passed_over(
    liif: Liif, capsys: Captured, photo: Picture
) -> None:
    Path("in/sub").mkdir(parents=True)
    write(photo, Path("in/sub/b.jpg"))
    write(photo, Path("in/c.webp"))
    Path("in/read.me").write_text("no picture", "utf-8")
    assert liif("-r", "in", "-o", "out/", "-s", "1.5") == 0
    assert sorted(path.as_posix() for path in Path("out").rglob("*.*")) == ["out/c.webp", "out/sub/b.jpg"]
    assert "passed over, as no pictures that are read: in/read.me\n" in capsys.readouterr().err
    for name in "abcd":
        Path(f"in/{name}.cr2").write_bytes(b"raw")
    assert liif("-r", "in", "-o", "out/", "-s", "1.5", "--if-exists", "skip") == 0
    assert "read: in/a.cr2, in/b.cr2, in/c.cr2 and 2 more\n" in capsys.readouterr().err


def test_a_batch_goes_on_after_bad_files_and_tells_which(
    liif: Liif, capsys: Captured, photo: Picture
) -> None:
    write(photo, Path("b.png"))
    Path("broken.png").write_bytes(Path("a.png").read_bytes()[:100])
    Path("text.png").write_text("no picture", "utf-8")
    assert liif("a.png", "broken.png", "text.png", "missing.png", "b.png", "-o", "out/") == 1
    err = capsys.readouterr().err
    assert listed("out") == ["a.png", "b.png"]
    assert "3 of 5 failed:" in err and "2 done, 0 skipped, 3 failed" in err
    for name in ("broken.png", "text.png", "missing.png"):
        assert f"error: {name}: " in err and f"\n  {name}" in err


def test_an_interrupted_batch_goes_on_with_skip(liif: Liif, capsys: Captured, photo: Picture) -> None:
    write(photo, Path("b.png"))
    assert liif("a.png", "-o", "out/") == 0
    before = Path("out/a.png").stat().st_mtime_ns
    assert liif("a.png", "b.png", "-o", "out/") == 1
    assert "a.png: exists" in capsys.readouterr().err
    Path("out/b.png").unlink()
    assert liif("a.png", "b.png", "-o", "out/", "--if-exists", "skip") == 0
    assert "1 done, 1 skipped, 0 failed" in capsys.readouterr().err
    assert Path("out/a.png").stat().st_mtime_ns == before
    assert liif("a.png", "b.png", "-o", "out/", "-y") == 0


def test_a_picture_through_pipes(
    liif: Liif, piped: Callable[[bytes], None], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    piped(Path("a.png").read_bytes())
    assert liif("-s", "1.5", "-q") == 0
    captured = capsysbinary.readouterr()
    assert captured.err == b"" and read(captured.out).width == 66
    piped(Path("a.png").read_bytes())
    assert liif("-", "-s", "1.5", "-o", "b.webp") == 0
    assert size("b.webp") == (66, 45)


def test_broken_bytes_through_a_pipe_are_an_error(
    liif: Liif, piped: Callable[[bytes], None], capsys: Captured
) -> None:
    piped(b"no picture")
    assert liif("-s", "2", "-o", "b.png") == 1
    piped(b"")
    assert liif("-s", "2", "-o", "b.png") == 1
    err = capsys.readouterr().err
    assert "error: -: not a picture" in err and "empty" in err


def test_without_input_and_pipe_there_is_an_example(
    liif: Liif, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO()))
    assert liif("-s", "2") == 2
    assert capsys.readouterr().err == "error: no INPUT\nhint: for example: liif upscale photo.jpg --scale 2\n"


@pytest.mark.parametrize(("separator", "more"), [(b"\n", []), (b"\0", ["-0"])])
def test_names_come_from_a_list(
    liif: Liif, piped: Callable[[bytes], None], photo: Picture, separator: bytes, more: list[str]
) -> None:
    write(photo, Path("b c.png"))
    data = b"a.png" + separator + b"b c.png" + separator
    Path("list").write_bytes(data)
    assert liif("--files-from", "list", *more, "-o", "one/") == 0
    piped(data)
    assert liif("--files-from", "-", *more, "-o", "two/") == 0
    assert listed("one") == listed("two") == ["a.png", "b c.png"]


def test_odd_names_are_just_names(liif: Liif, photo: Picture, capsys: Captured) -> None:
    Path("in").mkdir()
    for name in ("-dash.png", "[brackets].png", "ünï.png", "new\nline.png", os.fsdecode(b"latin\xe4.png")):
        write(photo, Path("in") / name)
    assert liif("in", "-o", "out/", "-v") == 0
    assert listed("out") == listed("in")


# Results


def test_names_formats_and_depth(liif: Liif) -> None:
    assert liif("a.png", "--name", "{model}/{stem}-{width}", "-f", "jpg", "-Q", "80", "-o", "out/") == 0
    assert read(Path("out/tiny/a-88.jpg")).format == "jpeg"
    assert liif("a.png", "-o", "deep.tif", "--bits", "16") == 0
    assert read(Path("deep.tif")).bits == 16
    assert liif("a.png", "-o", "l.webp", "--lossless") == liif("a.png", "-o", "l.png") == 0
    assert np.array_equal(read(Path("l.webp")).pixels, read(Path("l.png")).pixels)
    # What came without loss stays so, unless a quality is asked for.
    assert liif("l.webp", "-o", "again.webp") == liif("l.png", "-o", "again.png") == 0
    assert np.array_equal(read(Path("again.webp")).pixels, read(Path("again.png")).pixels)
    assert liif("l.webp", "-o", "lossy.webp", "-Q", "80") == liif("l.png", "-o", "png.webp") == 0
    assert [probe(name).lossless for name in ("again.webp", "lossy.webp", "png.webp")] == [True, False, False]
    assert liif("l.webp", "-s", "1", "--only-enlarge", "-Q", "20", "-o", "same.webp") == 0
    assert not probe("same.webp").lossless


def test_a_pyramid_is_a_tiff_or_is_refused(liif: Liif, capsys: Captured) -> None:
    from PIL import Image, ImageSequence

    def levels(name: str) -> list[npt.NDArray[Any]]:
        with Image.open(name) as image:
            return [np.array(level) for level in ImageSequence.Iterator(image)]

    assert liif("a.png", "--pyramid", "-s", "20", "-o", "large.tif") == 0
    assert liif("a.png", "-s", "20", "-o", "plain.tif") == 0
    assert len(levels("large.tif")) > 1 == len(levels("plain.tif"))
    assert np.array_equal(levels("large.tif")[0], levels("plain.tif")[0])
    assert liif("a.png", "--pyramid", "-o", "b.png") == 1
    assert "hint: tiff can" in capsys.readouterr().err
    # Also where no pixel is to be computed: the same picture as a pyramid is not a copy of the file.
    assert liif("plain.tif", "--pyramid", "--size", "40", "--only-enlarge", "-o", "same.tif") == 0
    assert len(levels("same.tif")) > 1


def test_the_input_is_never_written_over(liif: Liif, capsys: Captured) -> None:
    before = Path("a.png").read_bytes()
    assert liif("a.png", "-o", "a.png", "-y") == 1
    assert "written over the input a.png" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before


def test_only_enlarge_leaves_or_copies(liif: Liif, capsys: Captured) -> None:
    assert liif("a.png", "--size", "40", "--only-enlarge") == 0
    assert "a.png: skipped, already as large" in capsys.readouterr().err and listed() == ["a.png"]
    assert liif("a.png", "--size", "40", "--only-enlarge", "-o", "out/") == 0
    assert Path("out/a.png").read_bytes() == Path("a.png").read_bytes()


def test_a_format_that_cannot_hold_the_result_is_refused_naming_one_that_can(
    liif: Liif, capsys: Captured
) -> None:
    assert liif("a.png", "--size", "17000x", "-f", "webp") == 1
    err = capsys.readouterr().err
    assert "a.png: webp cannot hold the result: 17000x" in err and "hint: png" in err


# Reporting


def test_json_is_all_there_is_on_stdout(liif: Liif, capsys: Captured) -> None:
    Path("text.png").write_text("no picture", "utf-8")
    assert liif("a.png", "text.png", "-s", "2x3", "-o", "out/", "--json") == 1
    failed, done, last = lines(capsys.readouterr().out)
    assert (
        (failed["input"], failed["status"]) == ("text.png", "failed") and failed["error"] and failed["hint"]
    )
    assert (done["input"], done["output"], done["status"]) == ("a.png", str(Path("out/a.png")), "done")
    assert (done["in_width"], done["in_height"], done["width"], done["height"]) == (44, 30, 88, 90)
    assert done["scale"] == [2.0, 3.0] and done["precision"] == "float32" and done["tiles"] >= 1
    assert done["seconds"] > 0 and done["megapixels_per_second"] > 0 and done["peak_bytes"] > 0
    counts = last["summary"]
    assert list(counts) == ["done", "skipped", "failed", "output_megapixels", "seconds"]
    assert (counts["done"], counts["failed"], counts["output_megapixels"]) == (1, 1, 0.008)


def test_a_bar_on_the_terminal_leaves_stdout_alone(
    liif: Liif, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: stream is sys.stderr)
    monkeypatch.setenv("TERM", "xterm")
    assert liif("a.png", "--json") == 0
    captured = capsys.readouterr()
    assert lines(captured.out)[0]["input"] == "a.png" and "MP" in captured.err


def test_a_dry_run_tells_and_writes_nothing(liif: Liif, capsys: Captured, here: Path) -> None:
    assert liif("a.png", "-s", "4", "--tile", "10", "--dry-run", "-o", "out/") == 0
    out = capsys.readouterr().out
    assert "a.png -> out/a.png: 44x30 -> 176x120, 15 tiles" in out and " MiB, about " in out
    assert liif("a.png", "-s", "4", "--dry-run", "--json") == 0
    first, last = lines(capsys.readouterr().out)
    assert first["status"] == "planned" and first["seconds"] >= 0 and first["peak_bytes"] > 0
    assert last["summary"]["planned"] == 1 and last["summary"]["output_megapixels"] == 0.021
    assert listed(here) == ["a.png"]


@pytest.mark.parametrize("format", ["png", "webp"])
def test_a_dry_run_plans_what_is_then_done(liif: Liif, capsys: Captured, format: str) -> None:
    asked = ("a.png", "-s", "4", "-f", format, "-o", "out/", "--json")
    assert liif(*asked, "--dry-run") == liif(*asked) == 0
    planned, _, done, _ = lines(capsys.readouterr().out)
    assert (planned["tiles"], planned["peak_bytes"]) == (done["tiles"], done["peak_bytes"])


@pytest.mark.parametrize("parallel", [(), ("-j", "1"), ("-j", "2")])
def test_memory_that_is_enough_for_one_picture_is_not_shared(
    liif: Liif, capsys: Captured, photo: Picture, parallel: tuple[str, ...]
) -> None:
    write(photo, Path("b.png"))
    asked = ("a.png", "b.png", "-s", "4", "-o", "out/", "--memory", "70M", "--json", *parallel)
    assert liif(*asked, "--dry-run") == liif(*asked) == 0
    out, err = capsys.readouterr()
    said = lines(out)
    assert err.count("memory is short for 2 pictures at once: 1 will be done") == 2 * (
        parallel == ("-j", "2")
    )
    planned, done = said[:2], sorted(said[3:5], key=lambda one: str(one["input"]))
    same = ("input", "tiles", "peak_bytes", "error", "hint")
    assert [[one[name] for name in same] for one in planned] == [[one[name] for name in same] for one in done]
    assert len(list(Path("out").glob("*.png"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be")
def test_a_name_does_not_command_the_terminal(liif: Liif, capsys: Captured, photo: Picture) -> None:
    write(photo, Path("a\033[31m.png"))
    Path("b\033[31m.png").write_text("no picture")
    for options in (["--dry-run"], ["-v"]):
        assert liif("a\033[31m.png", "b\033[31m.png", "-o", "out/", *options) == 1
        said = capsys.readouterr()
        assert "\033" not in said.out + said.err and "b\\x1b[31m.png" in said.err


def test_quiet_says_nothing_and_verbose_says_more(liif: Liif, capsys: Captured) -> None:
    assert liif("a.png", "-q") == 0
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert liif("a.png", "-v", "-y", "-s", "0.5x2") == 0
    err = capsys.readouterr().err
    assert "fp32 as asked" in err and "width: antialiased bicubic" in err


def test_the_default_is_said(liif: Liif, capsys: Captured) -> None:
    assert liif("a.png") == 0
    assert "enlarging by 2" in capsys.readouterr().err


def test_verify_says_that_there_are_no_seams(liif: Liif, capsys: Captured) -> None:
    assert liif("a.png", "-s", "5", "--tile", "11", "--verify", "5") == 0
    assert (
        "a.png: computed again in one piece, 5 windows differ by 0 levels at most" in capsys.readouterr().err
    )


def test_a_seam_is_a_gate_that_is_not_met(
    liif: Liif, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local._Samples, "compared", lambda *_: 2)
    assert liif("a.png", "--verify", "3") == 5
    assert "computed again in one piece, 3 windows differ by 2 levels" in capsys.readouterr().err


def test_an_output_that_is_no_file_is_never_written_over(liif: Liif, capsys: Captured) -> None:
    os.mkfifo("pipe.png")
    assert liif("a.png", "-o", "pipe.png", "-y") == 1
    assert "pipe.png: is no regular file" in capsys.readouterr().err
    assert not Path("pipe.png").is_file()


def test_a_list_with_a_picture_or_nul_in_it_is_refused(liif: Liif, capsys: Captured) -> None:
    Path("names").write_bytes(b"a.png\0b.png\0")
    for name in ("names", "a.png"):
        assert liif("--files-from", name, "-o", "out/") == 2
        assert "need -0" in capsys.readouterr().err
    Path("names").write_bytes(b"\xef\xbb\xbfa.png\r\n")
    assert liif("--files-from", "names", "-o", "out/") == 0


@pytest.mark.skipif(os.name == "nt", reason="the system has no such pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_bug(weights: Path, unbuffered: str) -> None:
    command = [sys.executable, "-m", "liif_cli", "upscale", "-m", str(weights), "a.png", "-s", "9", "-o", "-"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as left:
        done = subprocess.run(
            command, stdout=left, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 141
    assert "bug" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize(
    "arguments", [["-o", "-"], ["-o", "b.png", "--json"], ["--dry-run"]], ids=["picture", "json", "dry run"]
)
def test_a_stdout_that_takes_no_more_is_no_bug(weights: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "liif_cli", "upscale", "-m", str(weights), "a.png", *arguments]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "stdout cannot be written: no space left" in done.stderr and "bug" not in done.stderr
    if arguments == ["-o", "-"]:
        closed = subprocess.run(
            [f"{' '.join(command)} >&-"], shell=True, stderr=subprocess.PIPE, text=True, check=False
        )
        assert closed.returncode == 2 and "it is closed" in closed.stderr


def test_of_a_run_that_stops_early_every_input_is_told(liif: Liif, capsys: Captured) -> None:
    assert liif("no.png", "a.png", "-o", "out/", "--fail-fast", "--json") == 1
    failed, left, last = lines(capsys.readouterr().out)
    assert (failed["status"], left["status"]) == ("failed", "skipped")
    assert left["warnings"] == ["the run was stopped before"] and last["summary"]["skipped"] == 1


def test_of_a_run_that_is_interrupted_every_input_is_told(
    liif: Liif, capsys: Captured, monkeypatch: pytest.MonkeyPatch, photo: Picture
) -> None:
    write(photo, Path("b.png"))
    run = local.run

    def one(*jobs: Any, **how: Any) -> Any:
        yield next(run(*jobs, **how))
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "run", one)
    assert liif("a.png", "b.png", "-o", "out/", "-j", "1", "--json") == 130
    done, left, last = lines(capsys.readouterr().out)
    assert (done["status"], left["status"]) == ("done", "skipped")
    assert last["summary"]["done"] == last["summary"]["skipped"] == 1


def test_what_was_done_when_the_run_was_interrupted_is_told_as_done(
    liif: Liif, capsys: Captured, monkeypatch: pytest.MonkeyPatch, photo: Picture
) -> None:
    write(photo, Path("b.png"))
    run = local.run

    def one(*jobs: Any, **how: Any) -> Any:
        running = run(*jobs, **how)
        try:
            yield next(running)
            deadline = time.monotonic() + 60
            while not Path("out/b.png").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            raise KeyboardInterrupt
        finally:
            running.close()

    monkeypatch.setattr(local, "run", one)
    assert liif("a.png", "b.png", "-o", "out/", "-j", "1", "--json") == 130
    first, second, last = lines(capsys.readouterr().out)
    assert first["status"] == second["status"] == "done"
    assert last["summary"]["done"] == 2 and last["summary"]["skipped"] == 0


def test_a_result_whose_name_is_too_long_does_not_stop_the_others(
    liif: Liif, capsys: Captured, photo: Picture
) -> None:
    long = Path("n" * 250 + ".png")
    write(photo, long)
    assert liif("a.png", str(long)) == 1
    assert Path("a_x2.png").exists() and "file name too long" in capsys.readouterr().err


def test_too_little_memory_says_how_much_it_takes(liif: Liif, capsys: Captured) -> None:
    assert liif("a.png", "--memory", "20M") == 3
    said = capsys.readouterr().err
    found = re.search(r"needs (\d+) MiB beside (\d+) MiB .*, 20 MiB are allowed", said)
    assert found, said
    assert liif("a.png", "--memory", f"{int(found[1]) + int(found[2])}M") == 0


def test_fail_fast_stops_before_anything_is_computed(liif: Liif, capsys: Captured) -> None:
    assert liif("missing.png", "a.png", "-o", "out/", "--fail-fast") == 1
    assert "0 done, 1 skipped, 1 failed" in capsys.readouterr().err and not Path("out").exists()


# Statuses


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["missing.png"], 1, "missing.png: cannot be opened: no such file"),
        (["a.png", "--memory", "1M"], 3, "memory is short: the smallest tile needs"),
        (["a.png", "--device", "cuda:42"], 3, "--device cuda:42: not on this machine"),
        (["a.png", "-m", "edsr-basline"], 4, "no weights are called 'edsr-basline'"),
        (["a.png", "-m", "missing.safetensors"], 4, "missing.safetensors"),
        (["a.png", "-m", "a.png"], 4, "a.png"),
        (["a.png", "--max-pixels", "5k"], 1, "more than 5,000"),
        (["a.png", "--max-input-pixels", "1k"], 1, "44x30"),
        (["a.png", "--region", "0,0,99,99"], 1, "not inside the result"),
    ],
)
def test_statuses(liif: Liif, capsys: Captured, arguments: list[str], status: int, said: str) -> None:
    assert liif(*arguments) == status
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_a_quality_that_nothing_has_is_told(liif: Liif, capsys: Captured) -> None:
    told = "--quality does nothing: what is written is packed without loss"
    assert liif("a.png", "-Q", "50", "-o", "b.png") == 0
    assert told in capsys.readouterr().err
    assert liif("a.png", "-Q", "50", "-o", "b.jpg") == 0
    assert told not in capsys.readouterr().err


def test_a_bug_in_one_picture_is_70_and_does_not_stop_the_others(
    liif: Liif, capsys: Captured, monkeypatch: pytest.MonkeyPatch, photo: Picture, tmp_path: Path
) -> None:
    from liif_cli.api import Upscaler

    write(photo, Path("b.png"))
    whole = Upscaler.prepare

    def broken(self: Upscaler, picture: Picture, *more: Any, **named: Any) -> Any:
        if not calls:
            calls.append(1)
            raise KeyError("of ours")
        return whole(self, picture, *more, **named)

    calls: list[int] = []
    monkeypatch.setattr(Upscaler, "prepare", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert liif("a.png", "b.png", "-o", "out/", "-j", "1") == 70
    assert "this is a bug of liif: KeyError" in capsys.readouterr().err
    assert listed("out") == ["b.png"] and list(tmp_path.glob("liif-bug-*.txt"))


def test_a_bug_is_told_where_no_disk_has_room_for_its_report(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def told() -> None:
        console.bug("Traceback ...\nKeyError: of ours\n")
        err = capsys.readouterr().err
        assert "Traceback ...\nKeyError: of ours\n" in err
        assert (
            "this is a bug of liif: KeyError: of ours\nhint: please report it with what stands above" in err
        )
        assert not list(tmp_path.rglob("liif-bug-*"))

    def full(handle: int, *_: object, **__: object) -> None:
        os.close(handle)
        raise OSError("no space left")

    with monkeypatch.context() as patch:  # room for its name only
        patch.setattr("tempfile.tempdir", str(tmp_path))
        patch.setattr("os.fdopen", full)
        told()
    request.getfixturevalue("no_room")
    told()


# The program itself


def program(weights: Path, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "liif_cli",
        "upscale",
        "-m",
        str(weights),
        "--precision",
        "fp32",
        *arguments,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_the_program_enlarges_through_its_reading_process(weights: Path, here: Path) -> None:
    root = str(Path(__file__).parents[2])
    running = program(weights, "a.png", "-s", "1.5", env={**os.environ, "PYTHONPATH": root})
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0 and b"44x30 -> 66x45" in err
    assert size("a_x1.5.png") == (66, 45)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("number", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_run_that_is_stopped_leaves_no_partial_file_and_can_go_on(
    weights: Path, here: Path, photo: Picture, number: str, status: int
) -> None:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    # 22 megapixels take seconds even with a tiny model.
    running = program(weights, "a.png", "-s", "130", "-o", "out/", env=env, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(Path("out").glob(".liif-*.part") if Path("out").exists() else []):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.01)
    running.send_signal(getattr(signal, number))
    _, err = running.communicate(timeout=60)
    assert running.returncode == status and b"Traceback" not in err
    left = listed("out")
    if number == "SIGKILL":
        assert len(left) == 1 and left[0].endswith(".part")
    else:
        assert left == [] and err.startswith(b"error: ")
    again = program(weights, "a.png", "-s", "2", "-o", "out/", "--if-exists", "skip", env=env)
    again.communicate(timeout=120)
    assert again.returncode == 0 and listed("out") == ["a.png"] and size("out/a.png") == (88, 60)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "published_db"), [(2, 37.99), (3, 34.40), (4, 32.24)])
def test_what_a_user_gets_is_as_good_as_published(
    shared: Path, published: Path, scale: int, published_db: float
) -> None:
    from liif_cli.evaluate.protocol import BENCHMARK, Scale, means, pair, score

    data = shared / "benchmarks" / "Set5"
    low = sorted(str(path) for path in (data / "LR_bicubic" / f"X{scale}").glob("*.png"))
    assert (
        main(["upscale", "-m", str(published), "--precision", "fp32", "-s", str(scale), "-o", "out/", *low])
        == 0
    )
    pairs = []
    for path in low:
        name = Path(path).name.replace(f"x{scale}.png", ".png")
        pairs.append(pair(path, read(data / "HR" / name), Scale(x=scale, y=scale), read(Path(path))))
    saved = {pair.image: read(Path("out") / Path(pair.image).name) for pair in pairs}
    waiting = iter(saved.values())
    (mean,) = means(score(lambda *_: next(waiting), pairs, BENCHMARK)).values()
    assert mean == pytest.approx(published_db, abs=0.03)
