"""Pictures of writing: pages, posters, screens, maps."""

from __future__ import annotations

import math

import numpy as np

from scenes.canvas import Canvas, Colour, stripes
from scenes.lettering import UNSPACED, Typeface, advance, phrase, words
from scenes.parts import (
    Box,
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
    hills,
    ink,
    label,
    near,
    oblong,
    place_one,
    rect,
    somewhere,
    stroke,
    tilt,
)

OTHER_SCRIPTS = ("accents", "greek", "cyrillic", "hebrew", "armenian", "georgian", "han", "kana", "hangul")


def page(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """A printed page: one to three columns of running text of 7 to 22 pixels, with headings."""
    paper = ground(rng)
    canvas.paint(paper)
    black = ink(rng, paper)
    face, script = _setting(rng, supplies)
    columns = int(rng.integers(1, 4))
    margin = rng.uniform(8, 40)
    wide = (canvas.width - margin * (columns + 1)) / columns
    printed = []
    for column in range(columns):
        left = margin + column * (wide + margin)
        y = rng.uniform(0, margin)
        while y < canvas.height:
            if chance(rng, 0.4):
                display = face_for(rng, supplies, script)
                size = rng.uniform(18, 44)
                box = (left, y, wide, size * 1.9)
                printed.append(paragraph(rng, display, script, size, box, ink(rng, paper), 1.1))
                y += size * 2.2
            if chance(rng, 0.25):
                face, script = _setting(rng, supplies)
            size, deep = between(rng, 7, 22), rng.uniform(60, 260)
            leading = rng.uniform(1.1, 1.6)
            printed.append(paragraph(rng, face, script, size, (left, y, wide, deep), black, leading))
            y += deep + size
    canvas.draw("".join(printed))
    if chance(rng, 0.4):
        tilt(rng, canvas, rng.uniform(0.1, 0.6))


def poster(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Words of 14 to 150 pixels, in many typefaces, colours and directions, over shapes and gradients."""
    back = backdrop(rng, canvas)
    printed = []
    for _ in range(int(rng.integers(0, 8))):
        shape = blob(rng, somewhere(rng, canvas), rng.uniform(40, 250), 7)
        printed.append(f'<path d="{shape}" fill="{css(colour(rng))}"/>')
    slant = rng.normal(0, 20)
    for _ in range(int(rng.integers(12, 40))):
        face, script = _setting(rng, supplies)
        size = between(rng, 14, 150)
        fill = ink(rng, back) if chance(rng, 0.7) else colour(rng)
        halo = (ink(rng, fill), size * rng.uniform(0.03, 0.15)) if chance(rng, 0.3) else None
        angle = float(rng.choice([0, 0, 90, slant, rng.uniform(-180, 180)]))
        x, y = somewhere(rng, canvas)
        at = (x - 0.2 * canvas.width, y)
        spacing = max(0.0, rng.normal(0, 0.06)) * size
        text = phrase(rng, script, int(rng.integers(1, 4)))
        printed.append(label(face, text, size, at, fill, angle=angle, halo=halo, spacing=spacing))
    canvas.draw("".join(printed))
    if chance(rng, 0.4):
        tilt(rng, canvas, rng.uniform(0.2, 1.0))


def screen(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """A program's window or a slide: a title bar over panels of text, lists, tables, charts, icons."""
    back = ground(rng)
    canvas.paint(back)
    accent = colour(rng, 0.3, 0.9)
    face, script = _setting(rng, supplies)
    bar = rng.uniform(24, 60)
    title = label(face, phrase(rng, script, 4), bar * 0.5, (14, bar * 0.68), ink(rng, accent))
    canvas.draw(rect((0, 0, canvas.width, bar), accent) + title)
    corner, line = float(rng.choice([0, 0, 4, 12])), float(rng.choice([0.5, 1, 2]))
    y = bar + 10
    while y < canvas.height - 20:
        deep = rng.uniform(60, 170)
        x = 10.0
        while x < canvas.width - 40:
            box = (x, y, min(rng.uniform(90, 320), canvas.width - x - 10), deep)
            panel = near(rng, back, 10)
            canvas.draw(frame(box, panel, ink(rng, panel), line, corner))
            PANELS[int(rng.integers(len(PANELS)))](rng, canvas, supplies, box, panel, accent)
            x += box[2] + 10
        y += deep + 10


def chart(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """A map: water, contour lines, roads with casings, names and signs."""
    land = ground(rng)
    canvas.paint(land)
    relief = hills(rng, canvas, rng.uniform(60, 220)) + 0.3 * hills(rng, canvas, rng.uniform(20, 60))
    if chance(rng, 0.6):
        canvas.paint(near(rng, land, 40), np.clip((relief - rng.uniform(0.2, 1.0)) * 60, 0, 1))
    if chance(rng, 0.8):
        lines = stripes(relief * np.float32(rng.uniform(3, 14)), rng.uniform(0.06, 0.2))
        canvas.paint(ink(rng, land), lines)
    casing, surface = ink(rng, land), near(rng, land, 30)
    roads = [(_road(rng, canvas), rng.uniform(0.8, 9)) for _ in range(int(rng.integers(6, 30)))]
    canvas.draw("".join(stroke(road, casing, width + 1.4) for road, width in roads))
    canvas.draw("".join(stroke(road, surface, width) for road, width in roads))
    names = []
    for _ in range(int(rng.integers(20, 80))):
        face, script = _setting(rng, supplies)
        size = between(rng, 7, 26)
        at = somewhere(rng, canvas, 20)
        halo = (land, size * 0.18) if chance(rng, 0.5) else None
        angle = float(rng.choice([0, rng.uniform(-60, 60)]))
        names.append(label(face, words(rng, script, 1)[0], size, at, ink(rng, land), halo=halo, angle=angle))
        if chance(rng, 0.3):
            place_one(rng, canvas, supplies.icons, (at[0], at[1] - size), size * 1.3, 0)
    canvas.draw("".join(names))


def paragraph(
    rng: Rng, face: Typeface, script: str, size: float, box: Box, fill: Colour, leading: float
) -> str:
    """Running text filling a box, ``leading`` ems from line to line; some lines end a paragraph."""
    left, top, width, height = box
    gap = "" if script in UNSPACED else " "
    lines = []
    for row in range(int((height - size) / (size * leading)) + 1):
        room = width * (rng.uniform(0.3, 0.8) if chance(rng, 0.15) else 1.0)
        text = ""
        while True:
            word = (gap if text else "") + words(rng, script, 1)[0]
            room -= advance(face, word, size)
            if room < 0:
                break
            text += word
        if text:
            lines.append(label(face, text, size, (left, top + size * (1 + row * leading)), fill))
    return "".join(lines)


def _setting(rng: Rng, supplies: Supplies) -> tuple[Typeface, str]:
    script = "latin" if chance(rng, 0.55) else str(rng.choice(OTHER_SCRIPTS))
    return face_for(rng, supplies, script), script


def face_for(rng: Rng, supplies: Supplies, script: str) -> Typeface:
    """One of the typefaces that can write a script."""
    able = [face for face in supplies.faces if script in face.scripts]
    return able[int(rng.integers(len(able)))]


def _road(rng: Rng, canvas: Canvas) -> list[tuple[float, float]]:
    heading = float(rng.choice([0, math.pi / 2, rng.uniform(0, 2 * math.pi)]))
    x, y = somewhere(rng, canvas)
    back = 900 if chance(rng, 0.5) else 0
    points = [(x - back * math.cos(heading), y - back * math.sin(heading))]
    for _ in range(int(rng.integers(3, 30))):
        heading += rng.normal(0, 0.12)
        x, y = points[-1]
        points.append((x + 60 * math.cos(heading), y + 60 * math.sin(heading)))
    return points


# --- the panels of a screen: what fills a box on a panel of one colour, with an accent


def _text(rng: Rng, canvas: Canvas, supplies: Supplies, box: Box, panel: Colour, accent: Colour) -> None:
    x, y, width, height = box
    face, script = _setting(rng, supplies)
    inner = (x + 8, y + 6, width - 16, height - 12)
    canvas.draw(paragraph(rng, face, script, rng.uniform(8, 16), inner, ink(rng, panel), 1.35))


def _list(rng: Rng, canvas: Canvas, supplies: Supplies, box: Box, panel: Colour, accent: Colour) -> None:
    x, y, _, height = box
    face, script = _setting(rng, supplies)
    dark = ink(rng, panel)
    step = rng.uniform(14, 26)
    rows = ""
    for row in range(int((height - 8) / step)):
        middle = y + 8 + (row + 0.5) * step
        rows += f'<circle cx="{x + 14:.1f}" cy="{middle:.1f}" r="{step * 0.14:.1f}" fill="{css(accent)}"/>'
        rows += label(face, phrase(rng, script, 2), step * 0.62, (x + 26, middle + step * 0.22), dark)
    canvas.draw(clipped(rows, oblong(box)))


def _table(rng: Rng, canvas: Canvas, supplies: Supplies, box: Box, panel: Colour, accent: Colour) -> None:
    x, y, width, height = box
    face, _ = _setting(rng, supplies)
    dark = ink(rng, panel)
    columns, rows = int(rng.integers(2, max(3, int(width / 28)))), int(rng.integers(3, 9))
    wide, deep = width / columns, height / rows
    across = [stroke([(x, y + deep * i), (x + width, y + deep * i)], dark, 0.7) for i in range(rows + 1)]
    upright = [stroke([(x + wide * i, y), (x + wide * i, y + height)], dark, 0.7) for i in range(columns + 1)]
    size = min(13.0, deep * 0.7)
    cells = [
        label(face, str(rng.integers(0, 999)), size, (x + wide * column + 3, y + deep * (row + 0.75)), dark)
        for row in range(rows)
        for column in range(columns)
    ]
    canvas.draw("".join(across + upright + cells))


def _bars(rng: Rng, canvas: Canvas, supplies: Supplies, box: Box, panel: Colour, accent: Colour) -> None:
    x, y, width, height = box
    count = int(rng.integers(4, 24))
    wide = width / count
    bars = []
    for i in range(count):
        tall = rng.uniform(0.1, 0.9) * height
        bars.append(rect((x + wide * (i + 0.2), y + height - tall, wide * 0.6, tall), near(rng, accent, 25)))
    canvas.draw("".join(bars))


def _curves(rng: Rng, canvas: Canvas, supplies: Supplies, box: Box, panel: Colour, accent: Colour) -> None:
    x, y, width, height = box
    for _ in range(int(rng.integers(1, 4))):
        walk = np.cumsum(rng.normal(0, 1, 60))
        walk = (walk - walk.min()) / (np.ptp(walk) + 1e-6)
        points = [(x + width * i / 59, y + height * (0.95 - 0.9 * float(v))) for i, v in enumerate(walk)]
        canvas.draw(stroke(points, ink(rng, panel), rng.uniform(0.6, 3)))


def _icons(rng: Rng, canvas: Canvas, supplies: Supplies, box: Box, panel: Colour, accent: Colour) -> None:
    x, y, width, height = box
    step = rng.uniform(22, 64)
    for row in range(int(height / step)):
        for column in range(int(width / step)):
            centre = (x + (column + 0.5) * step, y + (row + 0.5) * step)
            place_one(rng, canvas, supplies.icons, centre, step * 0.8, 0)


PANELS = (_text, _list, _table, _bars, _curves, _icons)
