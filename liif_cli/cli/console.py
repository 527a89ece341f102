"""The two streams: results on stdout, everything else on stderr. rich is loaded when it is needed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from liif_cli import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from liif_cli.report import Table


def out() -> Console:
    """Results. Plain text when stdout is not a terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Progress, notes, warnings, errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def show(tables: Sequence[Table]) -> None:
    """Tables on stdout; where that is no terminal they are as wide as they are."""
    from liif_cli.report import rich_table

    console = out()
    for number, table in enumerate(tables):
        drawn = rich_table(table)
        if not console.is_terminal:
            wide = console.options.update(max_width=10_000)
            console.width = max(80, drawn.__rich_measure__(console, wide).maximum)
        if number:
            console.print()
        console.print(drawn)


def printable(text: str) -> str:
    """`text` without what a terminal would obey: names of files may hold anything, and need not be UTF-8."""
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def stdout_is_closed() -> bool:
    """Whether nothing can be written to stdout."""
    try:
        os.write(sys.stdout.fileno(), b"")
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def fail(message: str, hint: str = "") -> None:
    """`error: what happened` and `hint: what to do`, each on its own line."""
    _say("error", message, "31")
    if hint:
        _say("hint", hint, "36")


def warn(message: str) -> None:
    """`warning: ...`"""
    _say("warning", message, "33")


def note(message: str) -> None:
    """A line without a mark."""
    _say("", message, "")


def bug(trace: str) -> None:
    """One line, and the traceback in a file that is named."""
    import platform
    import tempfile
    from pathlib import Path

    versions = f"liif {__version__}, Python {platform.python_version()}, {platform.platform()}"
    told, path = f"{versions}\n{sys.argv}\n\n{trace}", ""
    try:
        handle, path = tempfile.mkstemp(prefix="liif-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(told)
    except OSError:  # no disk has room for it, or not for all of it
        if path:
            Path(path).unlink()
            path = ""
        for line in told.splitlines():
            note(line)
    held = f"the file {path}, which holds the traceback" if path else "what stands above"
    fail(f"this is a bug of liif: {trace.strip().splitlines()[-1]}", f"please report it with {held}")


@contextmanager
def progress(total: float, unit: str, *, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """A bar on stderr while the block runs, with amount, speed and time left; none if stderr is no terminal.

    Yields what is to be called with each amount that is done, from any thread.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = f"{task.speed:.2f} {unit}/s" if task.speed else ""
            return Text(f"{task.completed:,.1f} of {task.total or 0:,.1f} {unit}  {speed}")

    columns = (BarColumn(), Amount(), TextColumn("left:"), TimeRemainingColumn())
    # stdout is for results: it is not to be drawn around the bar.
    with Progress(*columns, console=err(), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total)
        yield lambda amount: bar.advance(task, amount)


def _say(mark: str, text: str, colour: str) -> None:
    text = printable(text)
    if mark:
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        mark = f"\033[1;{colour}m{mark}:\033[0m " if coloured else f"{mark}: "
    with suppress(OSError):  # a full disk behind stderr is no fault of what is done
        print(f"{mark}{text}", file=sys.stderr, flush=True)
