"""What the scenes share: colours, surfaces, views, and SVG elements as text."""

from __future__ import annotations

import colorsys
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.canvas import OVERSAMPLE, Array, Canvas, Colour, Point
from scenes.lettering import Typeface, outline

Rng = np.random.Generator
Box = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True, kw_only=True)
class Supplies:
    """What is at hand to draw with."""

    faces: Sequence[Typeface]
    icons: Sequence[Path]  # SVG files for small sizes
    drawings: Sequence[Path]  # SVG files with enough in them for large ones


# --- numbers


def between(rng: Rng, low: float, high: float) -> float:
    """A number between two, each doubling as likely as the next: for sizes and periods."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def chance(rng: Rng, share: float) -> bool:
    """True in ``share`` of all cases."""
    return bool(rng.random() < share)


# --- colours


def colour(rng: Rng, darkest: float = 0.1, lightest: float = 1.0) -> Colour:
    """A colour of a brightness between two (0 to 1): of any hue, or an earth, stone or sky colour."""
    value = rng.uniform(darkest, lightest)
    if chance(rng, 0.5):
        hue, saturation = rng.random(), float(rng.beta(1.1, 2.5))
    elif chance(rng, 0.7):
        hue, saturation = rng.normal(0.09, 0.04) % 1, float(rng.beta(1.5, 4))
    else:
        hue, saturation = rng.normal(0.57, 0.06) % 1, float(rng.beta(1.5, 4))
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def ground(rng: Rng) -> Colour:
    """The colour of an empty sheet: mostly light, sometimes dark, sometimes anything."""
    lightness = ((0.8, 1.0), (0.05, 0.3), (0.3, 0.9))
    return colour(rng, *lightness[int(rng.choice(3, p=(0.6, 0.2, 0.2)))])


def ink(rng: Rng, on: Colour) -> Colour:
    """A colour that stands out from ``on``."""
    while True:
        made = colour(rng, 0.0, 0.45) if luma(on) > 120 else colour(rng, 0.6, 1.0)
        if abs(luma(made) - luma(on)) > 45:
            return made


def near(rng: Rng, base: Colour, spread: float) -> Colour:
    """A colour a little lighter or darker than ``base``; ``spread`` is in levels, for a middle grey."""
    gain = math.exp(rng.normal(0, spread / 128))
    moved = (np.asarray(base) + 8) * gain - 8 + rng.normal(0, spread / 4, 3)
    red, green, blue = (int(level) for level in np.clip(moved, 0, 255))
    return red, green, blue


def luma(of: Colour) -> float:
    """Brightness as the eye sees it, 0 to 255."""
    return 0.299 * of[0] + 0.587 * of[1] + 0.114 * of[2]


def css(of: Colour) -> str:
    """The colour in SVG's notation."""
    return "#{:02x}{:02x}{:02x}".format(*of)


# --- surfaces and views


def hills(rng: Rng, canvas: Canvas, period: float) -> Array:
    """A smooth random surface (H, W), its hills about ``period`` pixels wide, mean 0 and deviation 1."""
    rows, columns = (max(2, round(side / period) + 3) for side in (canvas.height, canvas.width))
    knots = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    size = (canvas.width * OVERSAMPLE, canvas.height * OVERSAMPLE)
    surface = np.asarray(knots.resize(size, Image.Resampling.BICUBIC), np.float32)
    return np.asarray((surface - surface.mean()) / max(float(surface.std()), 1e-6), np.float32)


def shade(rng: Rng, canvas: Canvas, period: float, strongest: float) -> None:
    """Uneven light in patches of ``period`` pixels; ``strongest``: of the brightness, one deviation."""
    canvas.light(1 + np.float32(rng.uniform(0, strongest)) * hills(rng, canvas, period))


def wash(rng: Rng, canvas: Canvas, first: Colour, last: Colour) -> None:
    """Fill the sheet with a gradient from one colour to the other, straight or in clouds."""
    if chance(rng, 0.3):
        share = np.clip(0.5 + 0.35 * hills(rng, canvas, rng.uniform(80, 400)), 0, 1)
    else:
        angle = rng.uniform(0, 2 * math.pi)
        x, y = canvas.axes()
        along = (x / canvas.width - 0.5) * math.cos(angle) + (y / canvas.height - 0.5) * math.sin(angle)
        share = np.clip(along / 1.2 + 0.5, 0, 1)
    canvas.paint(first)
    canvas.paint(last, share.astype(np.float32))


def backdrop(rng: Rng, canvas: Canvas) -> Colour:
    """Fill the sheet, with a gradient now and then; the colour to write on."""
    back = ground(rng)
    canvas.paint(back)
    if chance(rng, 0.35):
        wash(rng, canvas, back, near(rng, back, 40) if chance(rng, 0.5) else colour(rng))
    return back


def tilt(rng: Rng, canvas: Canvas, strength: float) -> None:
    """Look at the sheet from the side: a random perspective that leaves no empty corner."""
    lean_x, lean_y = rng.uniform(-0.6, 0.6, 2) * min(strength, 1.0)
    turn = rng.normal(0, 0.15 * strength)
    x, y = canvas.axes()
    u, v = x - canvas.width / 2, y - canvas.height / 2
    depth = 1 + lean_x * u / canvas.width + lean_y * v / canvas.height  # 0.4 at least
    across = (u * math.cos(turn) - v * math.sin(turn)) / depth
    down = (u * math.sin(turn) + v * math.cos(turn)) / depth
    reach = max(np.abs(across).max() / (canvas.width / 2), np.abs(down).max() / (canvas.height / 2))
    canvas.warp(across / reach + canvas.width / 2, down / reach + canvas.height / 2)


def place_one(rng: Rng, canvas: Canvas, of: Sequence[Path], centre: Point, size: float, angle: float) -> None:
    """Draw one of some SVG files; those that turn out to be empty are passed over."""
    for _ in range(8):
        if canvas.place(of[int(rng.integers(len(of)))], centre, size, angle):
            return


def somewhere(rng: Rng, canvas: Canvas, beyond: float = 0.0) -> Point:
    """A point on the sheet, or up to ``beyond`` pixels outside it."""
    x = rng.uniform(-beyond, canvas.width + beyond)
    return float(x), float(rng.uniform(-beyond, canvas.height + beyond))


# --- SVG elements


def rect(box: Box, fill: Colour, extra: str = "") -> str:
    """A filled rectangle."""
    x, y, width, height = box
    place = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect {place} fill="{css(fill)}" {extra}/>'


def frame(box: Box, fill: Colour, edge: Colour, width: float, corner: float = 0.0) -> str:
    """A rectangle with an outline and rounded corners."""
    return rect(box, fill, f'stroke="{css(edge)}" stroke-width="{width:.2f}" rx="{corner:.1f}"')


def stroke(points: Sequence[Point], of: Colour, width: float) -> str:
    """A line through some points."""
    joined = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return (
        f'<polyline points="{joined}" fill="none" stroke="{css(of)}" stroke-width="{width:.2f}" '
        f'stroke-linejoin="round"/>'
    )


def clipped(elements: str, outline_: str) -> str:
    """What lies of some elements inside a closed outline (the ``d`` of a path)."""
    name = f"c{zlib.crc32(outline_.encode()):08x}"
    return (
        f'<clipPath id="{name}"><path d="{outline_}"/></clipPath><g clip-path="url(#{name})">{elements}</g>'
    )


def oblong(box: Box) -> str:
    """The outline of a rectangle, as the ``d`` of a path."""
    x, y, width, height = box
    return f"M{x:.2f} {y:.2f}h{width:.2f}v{height:.2f}h{-width:.2f}Z"


def blob(rng: Rng, centre: Point, radius: float, corners: int) -> str:
    """A closed, rounded outline around a point, as the ``d`` of a path."""
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    reach = radius * rng.uniform(0.55, 1.15, corners)
    points = np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], -1)
    halfway = (points + np.roll(points, -1, 0)) / 2
    curves = (f"Q{p[0]:.2f} {p[1]:.2f} {h[0]:.2f} {h[1]:.2f}" for p, h in zip(points, halfway, strict=True))
    return f"M{halfway[-1][0]:.2f} {halfway[-1][1]:.2f}{''.join(curves)}Z"


def label(
    face: Typeface,
    text: str,
    size: float,
    at: Point,
    fill: Colour,
    *,
    angle: float = 0.0,
    halo: tuple[Colour, float] | None = None,
    spacing: float = 0.0,
) -> str:
    """A line of text from the point ``at`` on its baseline; ``halo``: colour and width of an outline."""
    around = f' stroke="{css(halo[0])}" stroke-width="{halo[1]:.2f}" paint-order="stroke"' if halo else ""
    turned = f" rotate({angle:.2f})" if angle else ""
    return (
        f'<path d="{outline(face, text, size, spacing)}" fill="{css(fill)}"{around} '
        f'transform="translate({at[0]:.2f} {at[1]:.2f}){turned}"/>'
    )
