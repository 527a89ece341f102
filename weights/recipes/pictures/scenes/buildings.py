"""Pictures of built things: walls, house fronts, fences and girders, seen from some side."""

from __future__ import annotations

import math

from scenes.canvas import Canvas
from scenes.parts import (
    Box,
    Rng,
    Supplies,
    between,
    chance,
    colour,
    css,
    ink,
    near,
    rect,
    shade,
    somewhere,
    tilt,
    wash,
)


def wall(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Bricks, tiles, planks or shingles, each piece its own colour."""
    mortar = colour(rng)
    canvas.paint(mortar)
    base = ink(rng, mortar) if chance(rng, 0.7) else near(rng, mortar, 35)
    deep = between(rng, 6, 60)
    wide = deep * float(rng.choice([1.0, 1.0, 2.0, 2.2, 3.0, 8.0]))
    joint = max(0.5, deep * rng.uniform(0.02, 0.16))
    bond = float(rng.choice([0.0, 0.5, 0.5, 1 / 3]))
    extra = f'rx="{deep * float(rng.choice([0, 0, 0.1, 0.5])):.1f}"'
    spread = rng.uniform(3, 30)
    pieces = []
    for row in range(math.ceil(canvas.height / deep) + 1):
        for column in range(-1, math.ceil(canvas.width / wide) + 1):
            left = (column + row * bond % 1) * wide
            piece = (left, row * deep, wide - joint, deep - joint)
            pieces.append(rect(piece, near(rng, base, spread), extra))
    canvas.draw("".join(pieces))
    shade(rng, canvas, 1.5, 0.05)
    shade(rng, canvas, rng.uniform(3, 12), 0.1)
    if chance(rng, 0.8):
        tilt(rng, canvas, rng.uniform(0.2, 1.3))


def facade(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """House fronts with rows of windows, in front of a sky or filling the view."""
    sky = colour(rng, 0.55, 1.0)
    wash(rng, canvas, sky, near(rng, sky, 30))
    whole = chance(rng, 0.5)
    left = -rng.uniform(0, 60)
    while left < canvas.width:
        width = canvas.width * 1.2 if whole else rng.uniform(120, 380)
        top = -5.0 if whole else rng.uniform(-0.1, 0.5) * canvas.height
        canvas.draw(_house(rng, (left, top, width, canvas.height - top)))
        left += width + (rng.uniform(0, 30) if chance(rng, 0.3) else 0)
    shade(rng, canvas, 1.5, 0.025)
    shade(rng, canvas, rng.uniform(60, 300), 0.12)
    if chance(rng, 0.85):
        tilt(rng, canvas, rng.uniform(0.2, 1.5))


def fence(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Rails, wires, girders and cables, parallel or fanning out, in front of something plain."""
    far = colour(rng, 0.4, 1.0)
    wash(rng, canvas, far, colour(rng, 0.4, 1.0))
    reach = math.hypot(canvas.width, canvas.height)
    for _ in range(int(rng.integers(3, 9))):
        metal = colour(rng, 0.0, 0.7)
        step = between(rng, 4, 90)
        fan = rng.uniform(-0.4, 0.4) if chance(rng, 1 / 3) else 0.0  # degrees from one bar to the next
        first = -int(rng.integers(2, 60))
        bars = "".join(
            f'<path d="M{-reach:.0f} {i * step:.2f}H{reach:.0f}" transform="rotate({i * fan:.3f})" '
            f'stroke="{css(near(rng, metal, 8))}"/>'
            for i in range(first, first + int(rng.integers(6, 80)))
        )
        x, y = somewhere(rng, canvas)
        angle = float(rng.choice([0, 90, rng.uniform(0, 180), rng.uniform(0, 180)])) + rng.normal(0, 2)
        place = f"translate({x:.1f} {y:.1f}) rotate({angle:.2f})"
        canvas.draw(f'<g transform="{place}" stroke-width="{step * rng.uniform(0.06, 0.5):.2f}">{bars}</g>')
    if chance(rng, 0.4):
        tilt(rng, canvas, rng.uniform(0.3, 1.2))


def _house(rng: Rng, box: Box) -> str:
    left, top, width, height = box
    plaster = colour(rng, 0.25, 0.95)
    trim, glass = near(rng, plaster, 45), colour(rng, 0.05, 0.5)
    pitch_x, pitch_y = rng.uniform(9, 70), rng.uniform(10, 80)
    wide, deep = pitch_x * rng.uniform(0.35, 0.9), pitch_y * rng.uniform(0.35, 0.85)
    ledges, sills, blinds, arched = (chance(rng, share) for share in (0.4, 0.5, 0.3, 0.15))
    window = _window(rng, wide, deep, ink(rng, glass), arched)
    made = [rect(box, plaster)]
    for row in range(int(height / pitch_y) + 1):
        if ledges:
            made.append(rect((left, top + row * pitch_y, width, pitch_y * 0.08), trim))
        for column in range(int(width / pitch_x)):
            x = left + column * pitch_x + (pitch_x - wide) / 2
            y = top + row * pitch_y + (pitch_y - deep) / 2
            pane = window.replace("GLASS", css(near(rng, glass, 22)))
            made.append(f'<g transform="translate({x:.2f} {y:.2f})">{pane}</g>')
            if blinds and chance(rng, 0.4):
                slat = max(1.6, deep / 14)
                count = int(deep * rng.uniform(0.2, 1) / slat)
                made += [rect((x, y + i * slat, wide, slat * 0.6), trim) for i in range(count)]
            if sills:
                made.append(rect((x - wide * 0.1, y + deep, wide * 1.2, max(0.8, pitch_y * 0.05)), trim))
    return "".join(made)


def _window(rng: Rng, wide: float, deep: float, frame: tuple[int, int, int], arched: bool) -> str:
    """A window at the origin; the word GLASS stands for the colour of its panes."""
    bar = max(0.4, min(wide, deep) * rng.uniform(0.03, 0.12))
    corner = f'rx="{wide / 2:.1f}"' if arched else ""
    panes_x, panes_y = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    made = [rect((-bar, -bar, wide + 2 * bar, deep + 2 * bar), frame, corner)]
    made.append(f'<rect width="{wide:.2f}" height="{deep:.2f}" fill="GLASS" {corner}/>')
    made += [rect((wide * i / panes_x - bar / 2, 0, bar, deep), frame) for i in range(1, panes_x)]
    made += [rect((0, deep * i / panes_y - bar / 2, wide, bar), frame) for i in range(1, panes_y)]
    return "".join(made)
