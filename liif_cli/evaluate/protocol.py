"""How a number is measured: what the upscaler is given, what is cropped, which channel counts (LIIF.md 6).

    pair(...)     one HR picture at one scale -> what is given (LR) and the truth (HR, cropped to fit)
    compare(...)  asks an upscaler for the truth's size -> both as float RGB, with the protocol's border
    score(...)    pairs -> scores, one by one; training judges half-trained nets with it

An upscaler is anything that takes a picture and a target and gives a picture. A float32 result is
taken as it comes, clamped to [0, 1] and not rounded; a result of 8 or 16 bits is what it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from liif_cli.engine.target import Target, parse_scale
from liif_cli.errors import UsageError
from liif_cli.evaluate.baselines import Upscale, bicubic
from liif_cli.evaluate.metrics import METRICS, Channel, Comparison, Floats, Metric
from liif_cli.image.picture import Picture, as_float, quantize

S = TypeVar("S", bound=npt.NDArray[Any])
Source = Literal["files", "bicubic"]


@dataclass(frozen=True, kw_only=True, order=True)
class Scale:
    """Factors of width (x) and height (y), each at least 1."""

    x: float
    y: float

    def __post_init__(self) -> None:
        if not (1 <= self.x < math.inf and 1 <= self.y < math.inf):
            raise ValueError(f"a scale to be measured is at least 1, not {self}")

    @classmethod
    def parse(cls, text: str) -> Scale:
        """As `--scale` is written: `2`, `2.5`, `250%`, `2x3.5` (width x height). Raises UsageError."""
        x, y = parse_scale(text, option="--scales")
        if min(x, y) < 1:
            raise UsageError(
                f"a picture is not measured at x{text}", hint="scales to be measured are 1 or more"
            )
        return cls(x=float(x), y=float(y))

    def __str__(self) -> str:
        """As `parse` reads it: the shortest text that says the same."""
        return _plain(self.x) if self.x == self.y else f"{_plain(self.x)}x{_plain(self.y)}"

    def lr_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the input that is made from an HR picture of this size; may hold a 0."""
        # The tiny addition is the published code's, against 299.99999 where 300 is meant.
        return math.floor(width / self.x + 1e-9), math.floor(height / self.y + 1e-9)

    def hr_size(self, lr_width: int, lr_height: int) -> tuple[int, int]:
        """(width, height) of the HR picture that belongs to an input of this size."""
        # Half to even, as the published code rounds here; `liif upscale` rounds half up. Nothing
        # hangs on it, since the upscaler is asked for a size, not for a scale.
        return round(lr_width * self.x), round(lr_height * self.y)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way of measuring that others can repeat.

    channel:      what PSNR is taken over.
    extra_border: pixels that are left out at each side beyond the scale itself.
    saved:        the result is judged as a file would hold it: 8 bits, grey as grey.
    says:         the above in one line, for tables.
    file_scales:  scales at which a data set's own LR files serve; above them LR is made from HR.
    """

    name: str
    channel: Channel
    extra_border: int = 0
    saved: bool = False
    says: str
    file_scales: tuple[int, ...] = (2, 3, 4)

    def border(self, scale: Scale) -> tuple[int, int]:
        """(rows, columns) left out at each side: the scale, rounded up where it is not whole."""
        return math.ceil(scale.y) + self.extra_border, math.ceil(scale.x) + self.extra_border


BENCHMARK = Protocol(name="benchmark", channel="y", says="Y, border = scale, float32")
DIV2K = Protocol(name="div2k", channel="rgb", extra_border=6, says="RGB, border = scale + 6, float32")
RGB = Protocol(name="rgb", channel="rgb", says="RGB, border = scale, float32")
FILE = Protocol(name="file", channel="y", saved=True, says="Y, border = scale, as saved with 8 bits")
PROTOCOLS = {protocol.name: protocol for protocol in (BENCHMARK, DIV2K, RGB, FILE)}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One picture at one scale.

    lr:     what the upscaler is given, grey or RGB as it was read or made.
    hr:     the truth: exactly the part of the HR picture that `lr` shows.
    source: where `lr` came from: the data set's files, or Pillow's bicubic.
    """

    image: str
    scale: Scale
    lr: Picture
    hr: Picture
    source: Source


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number for one picture at one scale."""

    image: str
    scale: Scale
    metric: str
    value: float


def pair(image: str, hr: Picture, scale: Scale, lr: Picture | None = None) -> Pair:
    """Input and truth from an HR picture, with `lr` as the input or one made from it.

    HR is cropped at the right and the bottom to what LR shows. LR is made by Pillow's bicubic,
    antialiased, in 8 bits (LIIF.md 6). Raises ValueError if `lr` does not belong to `hr`, if less
    than one LR pixel would be left, or if the picture has transparency.
    """
    if hr.alpha is not None or (lr is not None and lr.alpha is not None):
        raise ValueError(f"{image}: transparency, which no protocol measures")
    if reason := misfit(scale, hr, lr):
        raise ValueError(f"{image}: {reason}")
    lr_width, lr_height = scale.lr_size(hr.width, hr.height)
    width, height = scale.hr_size(lr_width, lr_height)
    truth = Picture(pixels=hr.pixels[:height, :width], bits=hr.bits)
    if lr is not None:
        return Pair(image=image, scale=scale, lr=lr, hr=truth, source="files")
    made = bicubic(truth, Target(size=(lr_width, lr_height)))
    return Pair(image=image, scale=scale, lr=made, hr=truth, source="bicubic")


def misfit(scale: Scale, hr: Picture, lr: Picture | None = None) -> str:
    """Why these make no pair at this scale, as far as their sizes say; empty if they do."""
    width, height = scale.lr_size(hr.width, hr.height)
    if min(width, height) < 1:
        return f"{hr.width}x{hr.height} pixels are less than one input pixel at x{scale}"
    if lr is not None and (lr.width, lr.height) != (width, height):
        return (
            f"{lr.width}x{lr.height} pixels, but its HR picture ({hr.width}x{hr.height}) "
            f"at x{scale} asks for {width}x{height}"
        )
    return ""


def compare(
    upscale: Upscale, pair: Pair, protocol: Protocol, *, border: tuple[int, int] | None = None
) -> Comparison:
    """Ask `upscale` for the size of the truth and lay both side by side, ready for any metric.

    border: (rows, columns) in place of the protocol's. Raises FloatingPointError if the result
    holds values that are no numbers, ValueError if it has another size than was asked for.
    """
    # A grey picture is repeated to three channels first (LIIF.md 6), but for what a user gets.
    given = pair.lr if protocol.saved else Picture(pixels=_rgb(pair.lr.pixels), bits=pair.lr.bits)

    def ask(width: int, height: int) -> Floats:
        answer = upscale(given, Target(size=(width, height)))
        if (answer.width, answer.height) != (width, height):
            raise ValueError(f"asked for {width}x{height} pixels, got {answer.width}x{answer.height}")
        pixels = as_float(answer)
        if not np.isfinite(pixels).all():
            raise FloatingPointError(f"the result for {pair.image} at x{pair.scale} is not all numbers")
        pixels = np.clip(pixels, 0.0, 1.0)
        if protocol.saved:
            pixels = as_float(Picture(pixels=quantize(pixels, 8)))
        return _rgb(pixels)

    return Comparison(
        result=ask(pair.hr.width, pair.hr.height),
        truth=_rgb(as_float(pair.hr)),
        given=_rgb(as_float(pair.lr)),
        border=protocol.border(pair.scale) if border is None else border,
        channel=protocol.channel,
        ask=ask,
    )


def score(
    upscale: Upscale,
    pairs: Iterable[Pair],
    protocol: Protocol,
    *,
    metrics: Sequence[str | Metric] = ("psnr",),
    border: tuple[int, int] | None = None,
) -> Iterator[Score]:
    """Judge `upscale` on `pairs`, one upscaling at a time: nothing but the current pair is held.

    metrics: names in `METRICS`, or metrics of your own. Raises as `compare` does.
    """
    asked = [METRICS[metric] if isinstance(metric, str) else metric for metric in metrics]
    for one in pairs:
        comparison = compare(upscale, one, protocol, border=border)
        for metric in asked:
            yield Score(image=one.image, scale=one.scale, metric=metric.name, value=metric.value(comparison))


def means(scores: Iterable[Score]) -> dict[tuple[Scale, str], float]:
    """Mean over pictures for each (scale, metric): of the pictures' values, not of their errors."""
    found: dict[tuple[Scale, str], list[float]] = {}
    for one in scores:
        found.setdefault((one.scale, one.metric), []).append(one.value)
    return {key: math.fsum(values) / len(values) for key, values in found.items()}


def _rgb(pixels: S) -> S:
    """Grey repeated to three channels."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels  # type: ignore[return-value]


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
