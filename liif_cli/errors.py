"""Every error a user can meet: what happened, what to do about it, and the exit status.

    LiifError                     1   one input could not be done
    ├── PictureError              1   a file that cannot be read, or not be written
    ├── UsageError                2   the command line is wrong; nothing was done
    ├── DeviceError               3   the device is not there, or memory is too short
    ├── WeightsError              4   weights unknown, unreachable, damaged, not trusted, of unknown structure
    ├── GateError                 5   a gate that was asked for is not met
    └── TrainingError             1   training cannot start or go on

A message says what happened and where, in lower case and without a full stop; the hint says what
to do (STYLE 7). `cli.app.main` is the only place that turns these into text and a status.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class LiifError(Exception):
    """Something a user can do something about. `status` is the exit status of the program."""

    status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class PictureError(LiifError):
    """One file cannot be read or written; the other files of the run are not concerned."""


class UsageError(LiifError):
    """The command line asks for something that cannot be; found before anything was done."""

    status = 2


class DeviceError(LiifError):
    """The device is not there, or memory is short even for the smallest tile."""

    status = 3


class WeightsError(LiifError):
    """Weights are unknown, not reachable, damaged, not trusted or of an unknown structure."""

    status = 4


class UnknownWeights(WeightsError):
    """No weights go by this name; the nearest known name is the hint."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"no weights are called {name!r}",
            hint=nearest(name, known, otherwise="`liif weights list` shows them all"),
        )


class GateError(LiifError):
    """A gate the user set (`--min-psnr`, `--max-regression`, `weights verify`) is not met."""

    status = 5


class TrainingError(LiifError):
    """Training cannot start or go on: no usable pictures, a full disk, a run that exists."""


class Terminated(BaseException):
    """A signal came that ends the program: no error, and nothing but cleaning up may catch it.

    status: of the program, as shells count it: 128 and the number of the signal, 143 for SIGTERM.
    """

    def __init__(self, number: int = 15) -> None:
        super().__init__(number)
        self.status = 128 + number


def no_folder(path: Path) -> str:
    """What to say of a path that should be a folder and is none."""
    return f"{path}: is a file, not a folder" if path.exists() else f"{path}: no such folder"


def nearest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Hint naming the known word nearest to `name`, or `otherwise` if none is near."""
    words = list(known)
    # Who types the beginning of a long name means it, however much is missing.
    near = get_close_matches(name, words, n=1) or [w for w in words if name and w.startswith(name)]
    return f"did you mean {near[0]!r}?" if near else otherwise
