"""`Recipe`: all that decides a training run, as a TOML file and as one frozen value.

A recipe file may leave out what it does not change. `read` fills it in, `resolved` writes it whole,
and that file lies beside the weights of every run: with it, the run can be repeated.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from liif_cli.errors import UsageError, nearest
from liif_cli.nn.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What one step sees.

    pairs:      where low resolution comes from. `reduce`: bicubic from a crop, by a random factor (the
                paper's sampler). `paired`: a second folder at one factor. `sizes`: whole pictures
                reduced to `patch_px`, asked for at a random size (the paper's, for faces).
    scale_min, scale_max: range of the random factor; equal: training at one factor.
    spread:     the factor is drawn `even`ly (the paper's), or each octave is as likely (`log`).
    size_min, size_max:   range of the output size of `sizes`, in pixels.
    batch:      samples a step, over all processes.
    patch_px:   side of the low-resolution patch.
    queries:    random points asked per sample (the paper's way, each sample with its own factor); 0:
                where `lines` random rows and as many columns of the patch cross (ours, one factor and
                one choice of lines a step).
    detail:     of so many random crops take the one with the most detail.
    reduce_max: each picture is also kept reduced by random factors up to this; `copies` of them.
    degrade:    `none`, or `photo`: what cameras and the web do to pictures (train/degrade.py).
    flips:      random flips and transpositions.
    repeat:     after so many steps the same samples come again (0: never). What a step was given is kept
                in memory, with the teacher's answers and a frozen encoder's codes, which can cost more than
                the rest of the step. With `flips` they come in another of their eight positions each time,
                where that does not call for new answers: not to a teacher without `teacher_tta`, not to a
                frozen encoder.
    shares:     glob -> weight: how much more often pictures of that name (below the data folder) are
                drawn than their pixels alone would have it.
    """

    pairs: Literal["reduce", "paired", "sizes"] = "reduce"
    scale_min: float = 1.0
    scale_max: float = 4.0
    spread: Literal["even", "log"] = "even"
    size_min: int = 32
    size_max: int = 256
    batch: int = 16
    patch_px: int = 48
    queries: int = 0
    lines: int = 48
    detail: int = 1
    reduce_max: float = 1.0
    copies: int = 1
    degrade: Literal["none", "photo"] = "none"
    flips: bool = True
    repeat: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _within("scale_min", self.scale_min, 1, 64)
        _within("scale_max", self.scale_max, self.scale_min, 64)
        _within("size_min", self.size_min, 1, 8192)
        _within("size_max", self.size_max, self.size_min, 8192)
        _within("batch", self.batch, 1, 65536)
        _within("patch_px", self.patch_px, 4, 4096)
        _within("queries", self.queries, 0, 10**7)
        _within("lines", self.lines, 1, 65536)
        _within("detail", self.detail, 1, 100)
        _within("reduce_max", self.reduce_max, 1, 16)
        _within("copies", self.copies, 1, 16)
        _within("repeat", self.repeat, 0, 10**6)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the weights move.

    optimiser:    `adam`, or `muon`: orthogonalised momentum for matrices and convolutions
                  (arXiv 2502.16982), Adam for the rest.
    rate:         learning rate; encoder_rate: times this for the encoder.
    weight_decay: decoupled.
    warmup_steps: the rate rises linearly.
    decay:        the last share of the run over which the rate falls linearly to zero.
    halve_steps:  instead of decaying, halve the rate every so many steps (0: never).
    frozen_steps: the encoder stays as it is for the first steps.
    ema:          weights that are shown and shipped are an exponential mean with this decay; 0: none.
    steps, minutes: length of the run, whichever ends first; 0: not by this.
    precision:    `auto` (bf16 where the machine has it), `fp32`, `bf16`.
    seed:         all randomness follows from it and the number of the step.
    """

    optimiser: Literal["adam", "muon"] = "muon"
    rate: float = 1e-3
    encoder_rate: float = 1.0
    weight_decay: float = 0.0
    warmup_steps: int = 200
    decay: float = 0.2
    halve_steps: int = 0
    frozen_steps: int = 0
    ema: float = 0.999
    steps: int = 0
    minutes: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        _within("rate", self.rate, 0, 1)
        _within("encoder_rate", self.encoder_rate, 0, 100)
        _within("weight_decay", self.weight_decay, 0, 10)
        _within("warmup_steps", self.warmup_steps, 0, 10**9)
        _within("decay", self.decay, 0, 1)
        _within("halve_steps", self.halve_steps, 0, 10**9)
        _within("frozen_steps", self.frozen_steps, 0, 10**9)
        _within("ema", self.ema, 0, 0.999999)
        _within("steps", self.steps, 0, 10**9)
        _within("minutes", self.minutes, 0, 10**6)
        _within("seed", self.seed, 0, 2**31)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run: the model, where it starts, what it sees, how it moves.

    init:    weights to start from, by name or path; parts whose shape differs start at random.
    teacher: weights whose answers are the targets in place of the pictures. A photograph's grain is in
             every target and in no answer; a teacher has left it out already (arXiv 1503.02531).
    teacher_tta: its answers are means over eight flips and turns (as `liif upscale --tta`): better than
             what a model of its size answers at once, and eight times as dear.
    """

    name: str
    what: str = ""
    model: ModelSpec
    init: str = ""
    teacher: str = ""
    teacher_tta: bool = False
    samples: Samples = field(default_factory=Samples)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if self.teacher and self.samples.degrade != "none":
            raise ValueError("a teacher sees what the model sees: it cannot teach what `degrade` took away")
        if self.teacher_tta and not self.teacher:
            raise ValueError("teacher_tta without a teacher")


def read(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file, with `key=value` settings (`schedule.rate=1e-4`) put over it.

    Raises UsageError naming the file, or the setting, and the field.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no TOML: {error}") from error
    changed = copy.deepcopy(table)
    for setting in settings:
        _put(changed, setting)
    with suppress(UsageError):
        return from_table(changed, str(path))
    recipe = from_table(table, str(path))  # the file itself may be to blame
    for setting in settings:
        _put(table, setting)
        recipe = from_table(table, setting)
    return recipe


def from_table(table: Mapping[str, Any], where: str) -> Recipe:
    """The recipe of a parsed TOML table; `where` is named in errors (UsageError)."""
    try:
        recipe: Recipe = _build(Recipe, table, "")
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error
    return recipe


def resolved(recipe: Recipe) -> str:
    """The recipe as TOML, with every field; `from_table(tomllib.loads(...))` gives it back."""
    return "".join(_toml(recipe, ""))


def _put(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {setting}: not of the form key=value", hint="--set schedule.rate=1e-4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *path, last = key.strip().split(".")
    for name in path:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {setting}: {name!r} is not a table")
    table[last] = value


def _build(kind: Any, table: Any, where: str) -> Any:
    """A dataclass from a table, by the types of its fields."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} is not a table")
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            hint = nearest(str(key), hints)
            raise ValueError(f"unknown field {_join(where, str(key))}" + (f", {hint}" if hint else ""))
    required = [f for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    missing = [_join(where, f.name) for f in required if f.name not in table]
    if missing:
        raise ValueError(f"without {' and '.join(missing)}")
    return kind(**{key: _value(hints[key], value, _join(where, key)) for key, value in table.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value not in choices:
            raise ValueError(f"{where} is one of {', '.join(choices)}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is a list")
        return tuple(_value(choices[0], item, where) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is a table")
        return types.MappingProxyType({str(k): _value(float, v, _join(where, k)) for k, v in value.items()})
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{where} is a {kind.__name__}, not {value!r}")
    return value


def _toml(value: Any, where: str) -> typing.Iterator[str]:
    tables: list[tuple[str, typing.Iterable[str]]] = []
    for f in dataclasses.fields(value):
        item = getattr(value, f.name)
        if dataclasses.is_dataclass(item):
            tables.append((f.name, _toml(item, _join(where, f.name))))
        elif isinstance(item, Mapping):
            tables.append((f.name, [f"{_scalar(k)} = {_scalar(v)}\n" for k, v in item.items()]))
        else:
            yield f"{f.name} = {_scalar(item)}\n"
    for name, lines in tables:
        yield f"\n[{_join(where, name)}]\n"
        yield from lines


def _scalar(value: Any) -> str:
    """A string, number, truth value or list as TOML; JSON writes them alike, but for DEL."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is from {low} to {high}, not {value}")
