"""`Target`: what size a picture shall get. `Layout`: what that means for one picture, in whole pixels.

Sizes are width x height, as people say them. Everything here is exact: factors are fractions, and
`half_up` is the only place that rounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt
from typing import Literal, get_args

from liif_cli.errors import LiifError, UsageError, nearest

Fit = Literal["inside", "outside", "crop", "pad", "stretch"]
Gravity = Literal[
    "center", "north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"
]
FITS: tuple[Fit, ...] = get_args(Fit)
GRAVITIES: tuple[Gravity, ...] = get_args(Gravity)

NAMED_SIZES = {"fhd": (1920, 1080), "4k": (3840, 2160), "uhd": (3840, 2160), "8k": (7680, 4320)}


def half_up(value: Fraction) -> int:
    """The nearest whole number; a half goes up. The one rounding of all sizes and places."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def scaled(size: int, factor: Fraction) -> int:
    """A side of `size` pixels times `factor`: at least one pixel."""
    return max(1, half_up(size * factor))


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in whole pixels; width or height 0 = empty."""

    left: int
    top: int
    width: int
    height: int

    def within(self, other: Box) -> Box:
        """What both cover; nothing is at this one's corner, without width and without height."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.width, other.left + other.width)
        bottom = min(self.top + self.height, other.top + other.height)
        if right <= left or bottom <= top:
            return Box(left=self.left, top=self.top, width=0, height=0)
        return Box(left=left, top=top, width=right - left, height=bottom - top)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One result: the whole enlarged picture, the window of it that is asked for, and its frame.

    in_width, in_height:   the input.
    out_width, out_height: the whole input, enlarged (or shrunk).
    window: the part of that which is computed; empty if only background is asked for.
    width, height:         the result.
    left, top:             where the window lies in the result; around it is background.
    """

    in_width: int
    in_height: int
    out_width: int
    out_height: int
    window: Box
    width: int
    height: int
    left: int = 0
    top: int = 0

    def part(self, box: Box) -> Layout:
        """A window of this result; what lies outside of it is not asked for."""
        shown = Box(left=self.left, top=self.top, width=self.window.width, height=self.window.height)
        seen = box.within(shown)
        return replace(
            self,
            window=Box(
                left=self.window.left + seen.left - self.left,
                top=self.window.top + seen.top - self.top,
                width=seen.width,
                height=seen.height,
            ),
            width=box.width,
            height=box.height,
            left=seen.left - box.left,
            top=seen.top - box.top,
        )

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors, after rounding to whole pixels."""
        return self.out_width / self.in_width, self.out_height / self.in_height

    @property
    def enlarges(self) -> bool:
        """Whether an axis grows; if none does, the picture is already as large."""
        return self.out_width > self.in_width or self.out_height > self.in_height

    @property
    def shrinks(self) -> bool:
        """Whether an axis shrinks."""
        return self.out_width < self.in_width or self.out_height < self.in_height

    @property
    def framed(self) -> bool:
        """Whether background shows around the window."""
        return (self.width, self.height) != (self.window.width, self.window.height)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A window of a result: in pixels, or in percent of its width and height."""

    left: Fraction
    top: Fraction
    width: Fraction
    height: Fraction
    percent: bool = False

    def box(self, width: int, height: int) -> Box:
        """The window of a result of this size. Raises LiifError if it is not inside."""
        unit_x, unit_y = (Fraction(width, 100), Fraction(height, 100)) if self.percent else (1, 1)
        left, top = half_up(self.left * unit_x), half_up(self.top * unit_y)
        # Edges are rounded, not lengths: regions that touch in percent touch in pixels.
        right, bottom = half_up((self.left + self.width) * unit_x), half_up((self.top + self.height) * unit_y)
        box = Box(left=left, top=top, width=right - left, height=bottom - top)
        if min(box.width, box.height) < 1 or right > width or bottom > height:
            raise LiifError(
                f"the region {right - left}x{bottom - top} at {left},{top} is not inside the result of "
                f"{width}x{height} pixels",
                hint="--region is X,Y,WIDTH,HEIGHT in pixels of the result, or pct:X,Y,WIDTH,HEIGHT",
            )
        return box

    @classmethod
    def parse(cls, text: str) -> Region:
        """`10,20,300,200` or `pct:0,0,50,50`. Raises UsageError."""
        body = text.removeprefix("pct:")
        percent = body != text
        parts = [_number(part) for part in body.split(",")]
        if len(parts) == 4 and None not in parts:
            left, top, width, height = (part or Fraction(0) for part in parts)
            whole = percent or all(part.denominator == 1 for part in (left, top, width, height))
            if whole and width > 0 and height > 0:
                return cls(left=left, top=top, width=width, height=height, percent=percent)
        raise UsageError(
            f"--region {text}: not a window",
            hint="write X,Y,WIDTH,HEIGHT in whole pixels of the result, or pct:X,Y,WIDTH,HEIGHT in percent",
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size asked for: exactly one of `scale`, `size`, `longer` and `pixels`.

    scale:  (x, y) factors.
    size:   (width, height); one of them may be None and then follows from the proportions.
    longer: the longer side.
    pixels: width times height, about.
    fit:    what `size` does with other proportions. `stretch`: exactly this size; `inside`, `outside`:
            proportions kept, at most or at least this size; `crop`: outside, cut to the size;
            `pad`: inside, filled up with background.
    gravity: the side that `crop` keeps and that `pad` puts the picture at.
    region: only this window of the result.
    """

    scale: tuple[Fraction | float, Fraction | float] | None = None
    size: tuple[int | None, int | None] | None = None
    longer: int | None = None
    pixels: int | None = None
    fit: Fit = "stretch"
    gravity: Gravity = "center"
    region: Region | None = None

    def __post_init__(self) -> None:
        given = [self.scale, self.size, self.longer, self.pixels]
        if sum(value is not None for value in given) != 1:
            raise ValueError("a target is one of scale, size, longer and pixels")
        numbers = [*(self.scale or ()), *(self.size or ()), self.longer, self.pixels]
        if self.size == (None, None) or not all(0 < n < float("inf") for n in numbers if n is not None):
            raise ValueError(f"a size is more than 0: {self}")
        if self.fit not in FITS or self.gravity not in GRAVITIES:
            raise ValueError(f"unknown fit or gravity: {self.fit}, {self.gravity}")

    def output_size(self, in_width: int, in_height: int) -> tuple[int, int]:
        """(width, height) of the result for a picture of this size. Raises LiifError for a region outside."""
        layout = self.layout(in_width, in_height)
        return layout.width, layout.height

    def layout(self, in_width: int, in_height: int) -> Layout:
        """What this target means for a picture of this size. Raises LiifError for a region outside."""
        out_width, out_height = self._enlarged(in_width, in_height)
        width, height = out_width, out_height
        if self.fit in ("crop", "pad") and self.size and None not in self.size:
            width, height = self.size[0] or 1, self.size[1] or 1
        # The picture on the canvas: beyond it where it is cropped, inside it where it is padded.
        left, top = self._place(width - out_width, height - out_height)
        canvas = Box(left=0, top=0, width=width, height=height)
        seen = canvas.within(Box(left=left, top=top, width=out_width, height=out_height))
        whole = Layout(
            in_width=in_width,
            in_height=in_height,
            out_width=out_width,
            out_height=out_height,
            window=Box(left=seen.left - left, top=seen.top - top, width=seen.width, height=seen.height),
            width=width,
            height=height,
            left=seen.left,
            top=seen.top,
        )
        return whole.part(self.region.box(width, height)) if self.region else whole

    def _enlarged(self, w: int, h: int) -> tuple[int, int]:
        """(width, height) of the whole picture, before anything is cut off or added."""
        if self.scale:
            return scaled(w, _exact(self.scale[0])), scaled(h, _exact(self.scale[1]))
        if self.pixels:
            wide, high = _root(Fraction(self.pixels * w, h)), _root(Fraction(self.pixels * h, w))
            return scaled(1, wide), scaled(1, high)
        if self.longer:
            factor = Fraction(self.longer, max(w, h))
        else:
            assert self.size is not None
            if self.fit == "stretch" and self.size[0] and self.size[1]:
                return self.size[0], self.size[1]
            factors = [Fraction(a, b) for a, b in zip(self.size, (w, h), strict=True) if a]
            factor = max(factors) if self.fit in ("outside", "crop") else min(factors)
        return scaled(w, factor), scaled(h, factor)

    def _place(self, spare_x: int, spare_y: int) -> tuple[int, int]:
        """(left, top) of the picture on its canvas; spare pixels are negative where it is cropped."""
        left = 0 if "west" in self.gravity else spare_x if "east" in self.gravity else spare_x // 2
        top = 0 if "north" in self.gravity else spare_y if "south" in self.gravity else spare_y // 2
        return left, top


def parse_scale(text: str, *, option: str = "--scale") -> tuple[Fraction, Fraction]:
    """`7.5`, `2x3.5` (width x height), `150%` -> (x, y) factors. Raises UsageError."""
    parts = [_factor(part) for part in text.lower().split("x")]
    if len(parts) in (1, 2) and all(part for part in parts):
        return parts[0] or Fraction(0), parts[-1] or Fraction(0)
    raise UsageError(f"{option} {text}: not a factor", hint="write 7.5, 150%, or 2x3.5 for width x height")


def parse_size(text: str, *, fit: Fit = "inside", gravity: Gravity = "center") -> Target:
    """`1920x1080`, `1920x`, `x1080`, `1920` (longer side), `12MP`, `4k`, `8k`, `fhd`. Raises UsageError."""
    word = text.strip().lower().replace("\u00d7", "x")
    if word in NAMED_SIZES:
        return Target(size=NAMED_SIZES[word], fit=fit, gravity=gravity)
    if pair := re.fullmatch(r"(\d{0,9})x(\d{0,9})", word):
        wide, high = (int(side) if side else None for side in pair.groups())
        if (wide or high) and 0 not in (wide, high):
            return Target(size=(wide, high), fit=fit if wide and high else "inside", gravity=gravity)
    elif re.fullmatch(r"0*[1-9]\d{0,8}", word):
        return Target(longer=int(word))
    elif (number := _number(word.removesuffix("mp"))) and word.endswith("mp"):
        return Target(pixels=max(1, half_up(number * 1_000_000)))
    raise UsageError(
        f"--size {text}: not a size",
        hint=nearest(word, NAMED_SIZES, otherwise="1920x1080, 1920x, x1080, 1920 (longer side), 12MP, 4k"),
    )


def parse_pixels(text: str, *, option: str) -> int:
    """`500000`, `512M`, `2G`, `100MP`: a number of pixels. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([kmg]?)p?", text.strip().lower())
    count = (
        half_up(Fraction(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[found[2]]) if found else 0
    )
    if count < 1:
        raise UsageError(f"{option} {text}: not a number of pixels", hint="write 500000, 512M or 2G")
    return count


_COLOURS = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
}


def parse_colour(text: str) -> tuple[int, int, int]:
    """`white`, `#fff`, `#ffffff` -> (red, green, blue) of 0 to 255. Raises UsageError."""
    word = text.strip().lower()
    if word in _COLOURS:
        return _COLOURS[word]
    if found := re.fullmatch(r"#([0-9a-f])([0-9a-f])([0-9a-f])", word):
        red, green, blue = (int(2 * digit, 16) for digit in found.groups())
        return red, green, blue
    if found := re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", word):
        red, green, blue = (int(pair, 16) for pair in found.groups())
        return red, green, blue
    raise UsageError(
        f"--background {text}: not a colour",
        hint=nearest(word, _COLOURS, otherwise="#ffffff, or a plain name"),
    )


def _factor(text: str) -> Fraction | None:
    """`7.5` or `150%`, above 0."""
    number = _number(text.removesuffix("%"))
    return number / 100 if number and text.endswith("%") else number


def _number(text: str) -> Fraction | None:
    """A plain decimal number, not below 0, or None. No exponents: nobody means 1e9."""
    return Fraction(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12}", text) else None


def _exact(value: Fraction | float) -> Fraction:
    """The decimal number a float was written as: 1.15 is 23/20, so that 1.15 x 10 is 11.5."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


def _root(value: Fraction) -> Fraction:
    """Square root, to 2**-32 of a pixel."""
    return Fraction(isqrt((value.numerator << 64) // value.denominator), 1 << 32)
