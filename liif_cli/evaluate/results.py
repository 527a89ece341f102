"""Results as they are kept: one JSON object a line, a row per picture and a mean per table cell.

The file of an interrupted run is continued, not repeated: what is in it and still true is taken
over. A row is true as long as the model file, the pictures and the way of measuring are the same, so
all of these are part of its key.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from liif_cli.errors import LiifError, UsageError
from liif_cli.evaluate.protocol import PROTOCOLS, Scale, Source
from liif_cli.report import json_line


@dataclass(frozen=True, kw_only=True)
class Way:
    """All that a number depends on but the picture: who made it, from what, and how it was measured.

    model_sha256: first 16 digits for the weights file, empty for a baseline without weights.
    precision:    what the network ran in, empty without one.
    lr:           where the input came from.
    border:       (rows, columns) left out.
    """

    model: str
    dataset: str
    protocol: str
    scale: Scale
    metric: str
    lr: Source
    border: tuple[int, int]
    precision: str = ""
    model_sha256: str = ""

    @property
    def shortcut_of(self) -> str:
        """For a model's own x4 result made to fit: the model's name; else empty."""
        return self.model.removesuffix(_SHORTCUT) if self.model.endswith(_SHORTCUT) else ""

    @property
    def ensemble_of(self) -> str:
        """For a model's self-ensemble: the model's name; else empty."""
        return self.model.removesuffix(_ENSEMBLE) if self.model.endswith(_ENSEMBLE) else ""

    @property
    def own_model(self) -> str:
        """The model itself, also for what is made of it."""
        return self.shortcut_of or self.ensemble_of or self.model


_SHORTCUT = " x4-lanczos"
_ENSEMBLE = " +tta"


def shortcut_name(model: str) -> str:
    """What a table calls the shortcut through the x4 result of `model`."""
    return model + _SHORTCUT


def ensemble_name(model: str) -> str:
    """What a table calls the self-ensemble of `model`."""
    return model + _ENSEMBLE


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number for one picture. image_sha256: of the picture's files (`dataset.Sample`)."""

    way: Way
    image: str
    image_sha256: str
    value: float

    @property
    def key(self) -> tuple[Way, str, str]:
        """Rows of the same key hold the same value."""
        return self.way, self.image, self.image_sha256

    def to_json(self) -> dict[str, Any]:
        """The documented fields first; `from_json` reads them back."""
        first, rest = _fields(self.way)
        return {**first, "image": self.image, "value": self.value, **rest, "image_sha256": self.image_sha256}


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean of one number over a data set's pictures: a cell of the table."""

    way: Way
    count: int
    mean: float

    def to_json(self) -> dict[str, Any]:
        """The documented fields first; `from_json` reads them back."""
        first, rest = _fields(self.way)
        return {**first, "count": self.count, "mean": self.mean, **rest}


def mean_rows(rows: Iterable[Row]) -> list[Mean]:
    """Means over pictures, in the order in which the cells first appear."""
    found: dict[Way, list[float]] = {}
    for row in rows:
        found.setdefault(row.way, []).append(row.value)
    return [
        Mean(way=way, count=len(values), mean=math.fsum(values) / len(values))
        for way, values in found.items()
    ]


def from_json(fields: Mapping[str, Any]) -> Row | Mean:
    """What `to_json` wrote. Raises KeyError, TypeError or ValueError on anything else."""
    scale = fields["scale"]
    x, y = (float(part) for part in str(scale).split("x")) if "x" in str(scale) else (float(scale),) * 2
    columns, rows = fields["border"]
    if fields["protocol"] not in PROTOCOLS or fields["lr"] not in ("files", "bicubic"):
        raise ValueError(f"no protocol {fields['protocol']!r} with LR from {fields['lr']!r}")
    way = Way(
        model=str(fields["model"]),
        dataset=str(fields["dataset"]),
        protocol=str(fields["protocol"]),
        scale=Scale(x=x, y=y),
        metric=str(fields["metric"]),
        lr=fields["lr"],
        border=(int(rows), int(columns)),
        precision=str(fields["precision"]),
        model_sha256=str(fields["model_sha256"]),
    )
    if "mean" in fields:
        return Mean(way=way, count=int(fields["count"]), mean=float(fields["mean"]))
    return Row(
        way=way,
        image=str(fields["image"]),
        image_sha256=str(fields["image_sha256"]),
        value=float(fields["value"]),
    )


def read_means(path: Path) -> list[Mean]:
    """The table cells a finished run left in `path`; of several for the same cell the last one.

    Raises UsageError for a file that is no such file, or holds no finished run.
    """
    cells: dict[tuple[str, str, str, Scale, str], Mean] = {}
    for one in _read(path)[0]:
        if isinstance(one, Mean):
            way = one.way
            cells[way.model, way.dataset, way.protocol, way.scale, way.metric] = one
    if not cells:
        raise UsageError(
            f"{path}: no means in it", hint="`liif eval ... --json FILE` writes them when a run is finished"
        )
    return list(cells.values())


class Journal:
    """The file of one run: what it holds already, and where new rows go as they are measured.

    A context manager. Every row is on the disk before the next is measured, so only a half-written
    last line can be lost to a kill; it is cut off when the file is written to again.
    """

    def __init__(self, path: Path) -> None:
        """Read `path`, which need not exist. Raises UsageError if it holds anything but results."""
        self.path = path
        known, self._whole = _read(path) if path.exists() else ([], 0)
        self._values = {row.key: row.value for row in known if isinstance(row, Row)}
        self._means = {mean for mean in known if isinstance(mean, Mean)}
        self._file: IO[bytes] | None = None  # opened by the first row: nothing measured, nothing touched

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def value(self, way: Way, image: str, image_sha256: str) -> float | None:
        """What was measured before, or None."""
        return self._values.get((way, image, image_sha256))

    def add(self, found: Iterable[Row | Mean]) -> None:
        """Append what the file does not hold yet. Raises LiifError if it cannot be written."""
        new = []
        for one in found:
            if isinstance(one, Mean):
                known = one in self._means
                self._means.add(one)
            else:
                known = one.key in self._values
                self._values[one.key] = one.value
            if not known:
                new.append(json_line(one.to_json()) + "\n")
        if not new:
            return
        try:
            if self._file is None:
                self._file = self.path.open("ab")
                self._file.truncate(self._whole)
            self._file.write("".join(new).encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise LiifError(f"{self.path}: {error.strerror or error}", hint="what is in it stays") from error


def _read(path: Path) -> tuple[list[Row | Mean], int]:
    """Results in a file, and how many of its bytes they are: a torn last line does not count."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    whole = data.rfind(b"\n") + 1
    if data and not whole and not data.startswith(b'{"model": '):
        raise _foreign(path, 1)
    found: list[Row | Mean] = []
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            found.append(from_json(json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:
            raise _foreign(path, number) from error
    return found, whole


def _foreign(path: Path, line: int) -> UsageError:
    return UsageError(
        f"{path}: line {line} is no result of `liif eval`",
        hint="name another file; this one is left as it is",
    )


def _fields(way: Way) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields every row shares: those that say what it is, and those that say how it came about."""
    scale = way.scale
    number: float | str = str(scale) if scale.x != scale.y else scale.x
    first = {
        "model": way.model,
        "dataset": way.dataset,
        "protocol": way.protocol,
        "scale": int(number) if not isinstance(number, str) and number == int(number) else number,
        "metric": way.metric,
    }
    rest = {
        "lr": way.lr,
        "border": [way.border[1], way.border[0]],  # width x height, as everywhere outside
        "precision": way.precision,
        "model_sha256": way.model_sha256,
    }
    return first, rest
