"""The command `liif` as a whole: help, start, errors, statuses, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from liif_cli import __version__
from liif_cli.cli import app
from liif_cli.cli.app import main
from liif_cli.errors import DeviceError, GateError, LiifError, Terminated, UsageError, WeightsError

Captured = pytest.CaptureFixture[str]
HEAVY = ("torch", "PIL", "numpy", "pyvips", "huggingface_hub", "matplotlib", "safetensors")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("argv", [["--help"], ["upscale", "--help"], ["--version"], ["upscale", "--scale"]])
def test_help_and_refusals_load_nothing_heavy(argv: list[str]) -> None:
    code = f"""if True:
        import sys
        from liif_cli.cli.app import main
        main({argv!r})
        print([name for name in {HEAVY!r} if name in sys.modules])"""
    assert python(code).splitlines()[-1] == "[]"


def test_a_process_ends_with_its_status_when_all_is_said() -> None:
    code = """if True:
        import atexit, sys
        from liif_cli.cli.app import program
        atexit.register(print, "the end")
        sys.argv = ["liif", *sys.argv[1:]]
        program()"""
    for argv, status, out in (["--version"], 0, f"liif {__version__}\n"), (["upscale"], 2, ""):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
        assert done.returncode == status
        assert done.stdout == out + "the end\n"
        assert bool(done.stderr) == bool(status)


def _cpu_seconds(*arguments: str) -> float:
    """Least time on a core of a few runs of this Python; a busy machine shows less in it."""
    took = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = os.times()
        took.append(sum(after[2:4]) - sum(before[2:4]))
    return min(took)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no times of children")
def test_help_takes_little_more_than_the_libraries_that_show_it() -> None:
    assert _cpu_seconds("-m", "liif_cli", "--help") <= 1.6 * _cpu_seconds("-c", "import typer.rich_utils")


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"liif {__version__}\n"


def test_nothing_at_all_shows_the_help(capsys: Captured) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert "upscale" in said.out + said.err and "error" not in said.err


@pytest.mark.parametrize(
    ("argv", "error", "hint"),
    [
        (["upscal"], "no such command 'upscal'", "did you mean 'upscale'?"),
        (["upscale", "--scal", "2"], "no such option: --scal", None),
        (["upscale", "--overwrite"], "no such option: --overwrite", None),
        (["upscale", "-j", "0", "x"], "invalid value for ", None),
        (["upscale", "--fit", "fill", "x"], "invalid value for ", None),
        (["upscale", "--scale"], "option ", None),
        (["weights", "info"], "missing argument", None),
    ],
)
def test_a_wrong_command_line_is_said_in_our_form(
    capsys: Captured, argv: list[str], error: str, hint: str | None
) -> None:
    assert main(argv) == 2
    said = capsys.readouterr()
    first, second = said.err.strip().splitlines()[:2]
    assert first.startswith(f"error: {error}") and not first.endswith(".")
    assert second.startswith("hint: ") and (hint is None or second == f"hint: {hint}")
    assert said.out == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LiifError("one", hint="do this"), 1),
        (UsageError("two", hint="do this"), 2),
        (DeviceError("three", hint="do this"), 3),
        (WeightsError("four", hint="do this"), 4),
        (GateError("five", hint="do this"), 5),
    ],
)
def test_each_error_has_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, error: LiifError, status: int
) -> None:
    monkeypatch.setattr(app, "app", _raising(error))
    assert main([]) == status
    assert capsys.readouterr().err == f"error: {error}\nhint: do this\n"


def _raising(error: BaseException) -> object:
    def run(*_: object, **__: object) -> None:
        raise error

    return run


def test_a_bug_is_one_line_and_a_file_with_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(app, "app", _raising(ValueError("of ours")))
    assert main([]) == 70
    said = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert said.startswith("error: this is a bug of liif: ValueError: of ours\n") and str(file) in said
    assert "Traceback" not in said and "Traceback" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (Terminated(), 143, "error: terminated\n"),
        (MemoryError(), 3, "error: memory ran out\n"),
    ],
)
def test_being_stopped_has_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, error: BaseException, status: int, said: str
) -> None:
    monkeypatch.setattr(app, "app", _raising(error))
    assert main([]) == status
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to catch")
def test_a_signal_ends_it_and_the_old_handler_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []
    for number, status in ((signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)):
        found = signal.signal(number, signal.default_int_handler)  # what runs in the background ignores some
        before = signal.getsignal(number)

        def run(*_: object, number: int = number, **__: object) -> None:
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:  # an impatient one must not disturb the cleaning up
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), number)
                time.sleep(0.01)
                cleaned.append(number)

        monkeypatch.setattr(app, "app", run)
        assert main([]) == status
        assert signal.getsignal(number) is before
        signal.signal(number, found)
        assert cleaned[-1] == number


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("ignored", "left"), [(False, "SIG_DFL"), (True, "SIG_IGN")])
def test_while_modules_load_ctrl_c_just_ends_it(ignored: bool, left: str) -> None:
    code = (
        "import signal; "
        f"signal.signal(signal.SIGINT, {'signal.SIG_IGN' if ignored else 'signal.default_int_handler'}); "
        "import liif_cli.__main__; print(signal.getsignal(signal.SIGINT).name)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == left


def test_an_empty_argument_is_not_the_folder_one_is_in(capsys: Captured) -> None:
    for argv in (["upscale", "", "-s", "2"], ["upscale", "a.png", "-o", ""], ["train", ""]):
        assert main(argv) == 2
        assert "empty" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["weights", "verify"], ["eval"], ["train"]])
def test_a_name_that_is_too_long_is_no_bug(argv: list[str], capsys: Captured) -> None:
    assert main([*argv, "n" * 300 + ".safetensors"]) == 2
    assert "bug" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="a shell that can close streams")
@pytest.mark.parametrize(
    ("line", "status", "out", "err"),
    [
        ("--version >&-", 1, "", "error: stdout cannot be written: bad file descriptor\n"),
        ("--version 2>&-", 0, f"liif {__version__}\n", ""),
        ("--version <&- 2>&-", 0, f"liif {__version__}\n", ""),
        ("eval nothere 2>&-", 2, "", ""),
        ("eval nothere 2>/dev/full", 2, "", ""),
        ("eval nothere >&- <&-", 2, "", "error: "),
    ],
)
def test_streams_that_are_closed_or_full_change_nothing_else(
    line: str, status: int, out: str, err: str
) -> None:
    done = subprocess.run(
        f"{sys.executable} -m liif_cli {line}", shell=True, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, out)
    assert done.stderr.startswith(err) and bool(done.stderr) == bool(err)


def test_a_reader_that_left_is_no_bug() -> None:
    command = f"{sys.executable} -m liif_cli upscale --help | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "bug" not in done.stderr and "Traceback" not in done.stderr


def test_colours_only_on_a_terminal(capsys: Captured) -> None:
    main(["upscal"])
    assert "\033" not in capsys.readouterr().err
