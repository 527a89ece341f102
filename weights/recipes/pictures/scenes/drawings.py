"""Pictures of drawings: icons, clip art, comics."""

from __future__ import annotations

import math

import numpy as np

from scenes.canvas import Canvas, Colour, Point
from scenes.parts import (
    Rng,
    Supplies,
    backdrop,
    between,
    blob,
    chance,
    clipped,
    colour,
    css,
    frame,
    ground,
    ink,
    place_one,
    somewhere,
)
from scenes.writing import face_for, paragraph


def icons(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """A sheet of icons of 28 to 180 pixels, upright or turned."""
    backdrop(rng, canvas)
    step = between(rng, 28, 180)
    turned = chance(rng, 0.5)
    for row in range(math.ceil(canvas.height / step)):
        for column in range(math.ceil(canvas.width / step)):
            centre = ((column + 0.5) * step, (row + 0.5) * step)
            angle = rng.uniform(-40, 40) if turned else 0.0
            place_one(rng, canvas, supplies.icons, centre, step * rng.uniform(0.7, 1.0), angle)


def drawing(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """One drawing that fills the sheet or more, small ones behind it."""
    backdrop(rng, canvas)
    for _ in range(int(rng.integers(0, 16))):
        size, angle = between(rng, 60, 250), rng.normal(0, 20)
        place_one(rng, canvas, supplies.drawings, somewhere(rng, canvas), size, angle)
    size = min(canvas.width, canvas.height) * rng.uniform(0.9, 1.5)
    angle = rng.normal(0, 15) if chance(rng, 0.3) else 0.0
    place_one(rng, canvas, supplies.drawings, (canvas.width / 2, canvas.height / 2), size, angle)


def collage(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Drawings of 60 to 420 pixels, the small over the large."""
    backdrop(rng, canvas)
    sizes = sorted((between(rng, 60, 420) for _ in range(int(rng.integers(20, 50)))), reverse=True)
    for size in sizes:
        place_one(rng, canvas, supplies.drawings, somewhere(rng, canvas), size, rng.normal(0, 25))


def comic(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Panels of inked shapes, flat, hatched or dotted, with drawings and balloons."""
    width, height = canvas.width, canvas.height
    paper, black = colour(rng, 0.85, 1.0), colour(rng, 0.0, 0.15)
    canvas.paint(ground(rng))
    for _ in range(int(rng.integers(6, 14))):
        shapes = ((somewhere(rng, canvas), between(rng, 15, 200)) for _ in range(4))
        canvas.draw("".join(_inked(rng, centre, radius, black) for centre, radius in shapes))
        size, angle = between(rng, 40, 400), rng.normal(0, 10)
        place_one(rng, canvas, supplies.drawings, somewhere(rng, canvas), size, angle)
    balloons = [_balloon(rng, canvas, supplies, paper, black) for _ in range(int(rng.integers(0, 6)))]
    canvas.draw("".join(balloons))
    if chance(rng, 0.6):
        gutter = rng.uniform(4, 14)
        for _ in range(int(rng.integers(1, 4))):
            at = rng.uniform(0.2, 0.8)
            upright = (at * width, -9.0, gutter, height + 18.0)
            lying = (-9.0, at * height, width + 18.0, gutter)
            canvas.draw(frame(upright if chance(rng, 0.5) else lying, paper, black, 1.5))


def _inked(rng: Rng, centre: Point, radius: float, black: Colour) -> str:
    shape = blob(rng, centre, radius, int(rng.integers(4, 14)))
    fill = colour(rng, 0.3, 1.0)
    texture = rng.random()
    step = between(rng, 2.5, 9)
    inside = ""
    if texture < 0.35:
        inside = _hatching(rng, radius * 1.3, step, black)
    elif texture < 0.6:
        inside = _dots(radius * 1.3, step * 1.5, step * rng.uniform(0.3, 0.6), ink(rng, fill))
    if inside:
        place = f"translate({centre[0]:.1f} {centre[1]:.1f}) rotate({rng.uniform(0, 180):.1f})"
        inside = clipped(f'<g transform="{place}">{inside}</g>', shape)
    return (
        f'<path d="{shape}" fill="{css(fill)}"/>{inside}'
        f'<path d="{shape}" fill="none" stroke="{css(black)}" stroke-width="{rng.uniform(0.6, 5):.2f}"/>'
    )


def _hatching(rng: Rng, reach: float, step: float, black: Colour) -> str:
    lines = "".join(
        f"M{-reach:.1f} {y:.2f}H{rng.uniform(-0.3, 1.0) * reach:.1f}" for y in np.arange(-reach, reach, step)
    )
    return f'<path d="{lines}" stroke="{css(black)}" stroke-width="{step * rng.uniform(0.15, 0.5):.2f}"/>'


def _dots(reach: float, step: float, radius: float, fill: Colour) -> str:
    count = min(int(reach / step), 45)
    dots = "".join(
        f'<circle cx="{(i + j % 2 / 2) * step:.2f}" cy="{j * step * 0.87:.2f}" r="{radius:.2f}"/>'
        for i in range(-count, count + 1)
        for j in range(-count, count + 1)
    )
    return f'<g fill="{css(fill)}">{dots}</g>'


def _balloon(rng: Rng, canvas: Canvas, supplies: Supplies, paper: Colour, black: Colour) -> str:
    face = face_for(rng, supplies, "latin")
    size = rng.uniform(9, 22)
    x, y = somewhere(rng, canvas, -60)
    width, height = rng.uniform(90, 200), size * rng.uniform(2.5, 5)
    inner = (x + 12, y + 6, width - 24, height - 14)
    text = paragraph(rng, face, "latin", size, inner, black, 1.2)
    return frame((x, y, width, height), paper, black, 1.6, height / 3) + text
