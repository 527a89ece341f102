"""The two streams: results on stdout, everything else on stderr. rich is loaded when it is needed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def out() -> Console:
    """Results. Plain text when stdout is not a terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Progress, notes, warnings, errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


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


def table(rows: Table) -> None:
    """A rich table on stderr."""
    err().print(rows)


def _say(mark: str, text: str, colour: str) -> None:
    text = text.encode(errors="backslashreplace").decode()  # names of files need not be UTF-8
    if mark:
        coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        mark = f"\033[1;{colour}m{mark}:\033[0m " if coloured else f"{mark}: "
    print(f"{mark}{text}", file=sys.stderr, flush=True)
