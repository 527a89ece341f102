"""The command `liif`: its commands, and the one place that turns errors into text and exit status."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from liif_cli import __version__
from liif_cli.cli import console
from liif_cli.cli.bench import bench
from liif_cli.cli.doctor import doctor
from liif_cli.cli.eval import eval_
from liif_cli.cli.train import train
from liif_cli.cli.upscale import EXAMPLES, upscale
from liif_cli.cli.weights import weights_app
from liif_cli.errors import LiifError, Terminated

BUG = 70
INTERRUPTED = 130
TERMINATED = 143
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
    try:
        with _sigterm_raises():
            status = app(argv, prog_name="liif", standalone_mode=False)
            sys.stdout.flush()
    except LiifError as error:
        console.fail(str(error), error.hint)
        return error.status
    except typer.TyperException as error:
        if error.format_message():  # empty: no command was given, the help was shown
            console.fail(*_usage(error))
        return error.exit_code
    except Terminated:
        console.fail("terminated")
        return TERMINATED
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return READER_LEFT
    except MemoryError:
        console.fail("memory ran out", "close other programs, or give less to --memory or --jobs")
        return 3
    except SystemExit as error:
        status = error.code
    except Exception:
        console.bug(traceback.format_exc())
        return BUG
    if status == INTERRUPTED:
        console.fail("interrupted")
    return status if isinstance(status, int) else 0


def _usage(error: typer.TyperException) -> tuple[str, str]:
    """What the parser of the command line has to say, in our words: (message, hint)."""
    found = re.match(
        r"(.*?)\.?(?: Did you mean (.*)\?| \(Possible options: (.*)\))?$", error.format_message(), re.S
    )
    assert found
    message, near = found[1], found[2] or found[3]
    context = getattr(error, "ctx", None)
    shown = f"`{context.command_path if context else 'liif'} --help` shows what there is"
    return message[:1].lower() + message[1:], f"did you mean {near}?" if near else shown


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """While the block runs SIGTERM ends it as Ctrl-C does, so that no partial file is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forget_stdout() -> None:
    """The reader is gone: nothing may be flushed to it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
