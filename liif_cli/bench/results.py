"""What was measured, as it is kept, and compared with what was measured before. No torch."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from liif_cli.engine.target import Target
from liif_cli.errors import GateError, UsageError
from liif_cli.evaluate.protocol import Scale


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input size at one scale. in_size: (width, height)."""

    scale: Scale
    in_size: tuple[int, int]

    @property
    def target(self) -> Target:
        return Target(scale=(self.scale.x, self.scale.y))

    @property
    def out_size(self) -> tuple[int, int]:
        """(width, height) of the result."""
        return self.target.output_size(*self.in_size)

    @property
    def megapixels(self) -> float:
        """Of the result."""
        width, height = self.out_size
        return width * height / 1e6

    def __str__(self) -> str:
        return f"x{self.scale} of {self.in_size[0]}x{self.in_size[1]}"


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a time depends on, beside the machine and the program. Equal ways may be compared."""

    model: str
    case: Case
    precision: str
    device: str

    def __str__(self) -> str:
        return f"{self.model} {self.case}, {self.precision} on {self.device}"


@dataclass(frozen=True, kw_only=True)
class Split:
    """What one run waited for, in seconds of the clock; together they are the run.

    read:   the file's pixels, from the reading process.
    encode: the encoder; where workers share it out, its part of their time.
    decode: the rest of the computation.
    write:  taking, packing and storing bands. What is computed meanwhile costs no time of its own.
    """

    read: float
    encode: float
    decode: float
    write: float

    @property
    def total(self) -> float:
        return self.read + self.encode + self.decode + self.write


@dataclass(frozen=True, kw_only=True)
class Plainly:
    """The published way, encoding and decoding alone: seconds, how many times as fast ours is at that,
    and the largest difference between both, in units of [0, 1]."""

    median_s: float
    ratio: float
    max_difference: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured for one case.

    median_s:   of the run in the middle (of two, the faster), whose `split` this is.
    peak_bytes: the most memory this process held above the loaded program; on a GPU, that it held
                there; None where the system does not tell.
    """

    way: Way
    threads: int
    median_s: float
    min_s: float
    max_s: float
    split: Split
    peak_bytes: int | None
    versions: Mapping[str, str]
    plain: Plainly | None = None

    @property
    def megapixels_per_second(self) -> float:
        """Of the result."""
        return self.way.case.megapixels / self.median_s

    def to_json(self) -> dict[str, Any]:
        """The fields CLI.md names; `from_json` reads them back, not rounded: the tables stay the same."""
        way, scale = self.way, self.way.case.scale
        number = int(scale.x) if scale.x == int(scale.x) else scale.x
        found = {
            "model": way.model,
            "scale": number if scale.x == scale.y else str(scale),
            "in_size": list(way.case.in_size),
            "precision": way.precision,
            "device": way.device,
            "threads": self.threads,
            "median_s": self.median_s,
            "min_s": self.min_s,
            "max_s": self.max_s,
            "output_megapixels_per_second": round(self.megapixels_per_second, 4),
            "split": asdict(self.split),
            "peak_bytes": self.peak_bytes,
            "versions": dict(self.versions),
        }
        if self.plain:
            found["plain_median_s"] = self.plain.median_s
            found["ratio"] = self.plain.ratio
            found["max_difference"] = self.plain.max_difference
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Row:
        """What `to_json` wrote. Raises KeyError, TypeError, ValueError or UsageError on anything else."""
        width, height = found["in_size"]
        size = _count(width, least=1), _count(height, least=1)
        case = Case(scale=Scale.parse(str(found["scale"])), in_size=size)
        times = {name: _number(found[name]) for name in ("median_s", "min_s", "max_s")}
        if not 0 < times["min_s"] <= times["median_s"] <= times["max_s"]:
            raise ValueError(f"no times: {times}")
        peak = found["peak_bytes"]
        plain = None
        if "ratio" in found:
            plain = Plainly(
                median_s=_number(found["plain_median_s"]),
                ratio=_number(found["ratio"]),
                max_difference=_number(found["max_difference"]),
            )
        return cls(
            way=Way(
                model=str(found["model"]),
                case=case,
                precision=str(found["precision"]),
                device=str(found["device"]),
            ),
            threads=_count(found["threads"], least=1),
            **times,
            split=Split(**{part: _number(value) for part, value in found["split"].items()}),
            peak_bytes=None if peak is None else _count(peak),
            versions={str(name): str(value) for name, value in found["versions"].items()},
            plain=plain,
        )


def _number(value: object) -> float:
    """A number of 0 or more. Raises ValueError."""
    # true is a number to Python; one of 400 digits is none to anybody
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e30:
        raise ValueError(f"no number: {value!r:.40}")
    return float(value)


def _count(value: object, *, least: int = 0) -> int:
    """A whole number of `least` or more. Raises ValueError."""
    if not isinstance(value, int) or not least <= _number(value):
        raise ValueError(f"no count: {value!r:.40}")
    return value


def cases(scales: Iterable[Scale], sizes: Iterable[tuple[int, int]]) -> list[Case]:
    """Every size at every scale, each once, in the order given."""
    asked = list(dict.fromkeys(scales))
    return [Case(scale=scale, in_size=size) for size in dict.fromkeys(sizes) for scale in asked]


def parse_size(text: str) -> tuple[int, int]:
    """`256` (a square), `640x480` (width x height), in pixels. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text.strip(), re.ASCII)
    size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if 0 in size:
        raise UsageError(f"--sizes {text}: not a size in pixels", hint="write 256, or 640x480")
    return size


@dataclass(frozen=True, kw_only=True)
class Change:
    """The same measured twice."""

    before: Row
    now: Row

    @property
    def share(self) -> float:
        """How much more time it takes: 0.2 is 20% more, below 0 is less."""
        return self.now.median_s / self.before.median_s - 1

    @property
    def circumstances(self) -> tuple[str, ...]:
        """What else is different, and may be the reason."""
        then = {**self.before.versions, "threads": str(self.before.threads)}
        now = {**self.now.versions, "threads": str(self.now.threads)}
        return tuple(
            f"{key}: {then.get(key, 'unknown')} then, {now.get(key, 'unknown')} now"
            for key in ("threads", "cpu", "torch")
            if then.get(key) != now.get(key)
        )


def read_rows(path: Path) -> list[Row]:
    """The rows `--json` wrote, at least one. Raises UsageError for anything else."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    rows = []
    # Some editors put a mark in front of what they save.
    for number, line in enumerate(text.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            if line.strip():
                rows.append(Row.from_json(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError) as error:
            raise UsageError(
                f"{path}: line {number} is no row of a bench", hint="`liif bench --json FILE` writes them"
            ) from error
    if not rows:
        raise UsageError(f"{path}: holds no rows", hint="`liif bench --json FILE` writes them")
    return rows


def unlike(ways: Iterable[Way], old: Iterable[Row]) -> list[Way]:
    """Those of `ways` that were not measured before."""
    known = {row.way for row in old}
    return [way for way in ways if way not in known]


def changes(rows: Iterable[Row], old: Iterable[Row]) -> list[Change]:
    """Rows with what was measured before in the same way; those without are left out."""
    known = {row.way: row for row in old}  # of several the last
    return [Change(before=known[row.way], now=row) for row in rows if row.way in known]


def parse_share(text: str) -> float:
    """`20%` -> 0.2. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,4}(?:\.\d{1,4})?)\s*%", text.strip(), re.ASCII)
    if not found:
        raise UsageError(f"--max-regression {text}: not a share", hint="write 20%")
    return float(found[1]) / 100


def gate(found: Iterable[Change], most: float) -> None:
    """Raise GateError if a median grew by more than `most` (0.2 = 20%)."""
    slower = [change for change in found if change.share > most]
    if slower:
        told = "; ".join(
            f"{change.now.way}: {seconds(change.before.median_s)} then, {seconds(change.now.median_s)} now, "
            f"{change.share:+.0%}"
            for change in slower
        )
        raise GateError(
            f"slower by more than {most * 100:.4g}%: {told}",
            hint="if the machine was busy, measure once more",
        )


def seconds(value: float) -> str:
    """A time for people: three digits."""
    if value < 0.9995:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 99.95 else f"{value:.0f} s"
