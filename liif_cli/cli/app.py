"""The command `liif`: its commands, and the one place that turns errors into text and exit status."""

from __future__ import annotations

import atexit
import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer

from liif_cli import __version__, machine
from liif_cli.cli import console
from liif_cli.cli.bench import bench
from liif_cli.cli.doctor import doctor
from liif_cli.cli.eval import eval_
from liif_cli.cli.train import train
from liif_cli.cli.upscale import EXAMPLES, upscale
from liif_cli.cli.weights import weights_app
from liif_cli.errors import LiifError, Terminated, UsageError, nearest

BUG = 70
INTERRUPTED = 130
# Signals that end a run, 128 above which is its status: 143 for SIGTERM. Windows has no SIGHUP.
_ENDING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_STDOUT_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EINVAL)
# What a shell reports of a program whose reader went away, as in `liif weights list | head -1`.
READER_LEFT = 141

app = typer.Typer(
    name="liif",
    help="Enlarge pictures to any size, by any factor, with LIIF.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=EXAMPLES)(upscale)
app.command("eval")(eval_)
app.command()(bench)
app.command()(train)
app.add_typer(weights_app)
app.command()(doctor)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"liif {__version__}")
        raise typer.Exit


@app.callback()
def _liif(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and stop.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run `liif` with these arguments (default: the program's own). Returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if "" in argv:  # as a path it would be the folder one is in
            after = " ".join(["liif", *argv[: argv.index("")]])
            raise UsageError(
                f"an argument is empty: {after} ...", hint="a variable of the shell may not be set"
            )
        with _signals_raise():
            status = app(argv, prog_name="liif", standalone_mode=False)
            if sys.stdout is not None:  # None: the caller has closed it
                sys.stdout.flush()
    except LiifError as error:
        console.fail(str(error), error.hint)
        return error.status
    except typer.TyperException as error:
        if error.format_message():  # empty: no command was given, the help was shown
            console.fail(*_usage(error))
        return error.exit_code
    except Terminated as error:
        console.fail("terminated")
        return error.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return READER_LEFT
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            console.fail(f"{error.filename}: {str(error.strerror).lower()}")
            return 2
        # Files have names; without one it is stdout that has taken no more.
        if error.filename is not None or error.errno not in _STDOUT_FAILS:
            console.bug(traceback.format_exc())
            return BUG
        _forget_stdout()
        console.fail(f"stdout cannot be written: {(error.strerror or str(error)).lower()}")
        return 1
    except MemoryError:
        console.fail("memory ran out", "close other programs, or give less to --memory or --jobs")
        return 3
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # the library of the command line makes a 1 of it
            _forget_stdout()
            return READER_LEFT
        status = error.code
    except Exception:
        console.bug(traceback.format_exc())
        return BUG
    if status == INTERRUPTED:
        console.fail("interrupted")
    return status if isinstance(status, int) else 0


def program() -> NoReturn:
    """`main` as a process. It ends at once when all is done: Python would first take torch to pieces, which
    takes a third as long as loading it and frees what is gone a moment later."""
    _hold_streams()
    machine.keep_freed_memory()  # first: a thread that has a heap of its own by now would keep it
    try:
        status = main()
    except KeyboardInterrupt:  # once more, when all was said
        status = INTERRUPTED
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, full, or not there
            stream.flush()
    os._exit(status)


def _usage(error: typer.TyperException) -> tuple[str, str]:
    """What the parser of the command line has to say, in our words: (message, hint)."""
    found = re.match(
        r"(.*?)\.?(?: Did you mean (.*)\?| \(Possible options: (.*)\))?$", error.format_message(), re.S
    )
    assert found
    message, near = found[1], found[2] or found[3]
    context = getattr(error, "ctx", None)
    shown = f"`{context.command_path if context else 'liif'} --help` shows what there is"
    for theirs, ours in _LIBRARY:
        message = message.replace(theirs, ours)
    if choice := re.search(r"'([^']*)' is not one of ('.*')$", message, re.S):
        words = re.findall("'(.*?)'", choice[2])
        return _lower(message), nearest(choice[1], words, otherwise=f"one of {', '.join(words)}")
    if near:
        # What begins as the word that was typed is meant more likely than what merely resembles it.
        typed = message.split()[-1]
        options = sorted(near.split(", "), key=lambda option: not option.startswith(typed))
        return _lower(message), f"did you mean {options[0]}?"
    return _lower(message), shown


# What the libraries below the parser say, in words for people.
_LIBRARY = (
    ("Value error, ", ""),
    ("Input should be a valid integer, unable to parse string as an integer", "not a whole number"),
    ("Input should be a valid number, unable to parse string as a number", "not a number"),
    ("Input should be", "it should be"),
)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


@contextmanager
def _signals_raise() -> Iterator[None]:
    """While the block runs Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes, end it so that no partial
    file is left; what comes after the first of them does not disturb the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = False

    def end(number: int, _: object) -> None:
        nonlocal ended
        if ended:
            return
        ended = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(number)

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup: it is to go on
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hold_streams() -> None:
    """Where a stream was closed by the caller, put one that takes nothing in its place: else the next file
    that is opened would get its number, and what is said would go into it."""
    for number, way in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            there = os.open(os.devnull, way)
            if there != number:
                os.dup2(there, number)
                os.close(there)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)  # fails when something is written
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _forget_stdout() -> None:
    """The reader is gone: nothing may be flushed to it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
