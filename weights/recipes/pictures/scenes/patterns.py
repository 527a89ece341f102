"""Pictures of patterns: stripes of every period and direction, rings, cloth, cells, hair, leaves."""

from __future__ import annotations

import math

import numpy as np

from scenes.canvas import OVERSAMPLE, Array, Canvas, stripes
from scenes.parts import (
    Rng,
    Supplies,
    backdrop,
    between,
    chance,
    colour,
    css,
    hills,
    ink,
    near,
    shade,
    somewhere,
)


def patches(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Regular patterns side by side, at all angles, of periods from 2.2 to 36 pixels."""
    x, y = canvas.axes()
    seeds = [somewhere(rng, canvas) for _ in range(int(rng.integers(4, 16)))]
    owner = np.argmin([np.hypot(x - seed_x, y - seed_y) for seed_x, seed_y in seeds], 0)
    for index in range(len(seeds)):
        mine = (owner == index).astype(np.float32)
        base = colour(rng)
        canvas.paint(base, mine)
        other = ink(rng, base) if chance(rng, 0.8) else near(rng, base, 40)
        canvas.paint(other, _regular(rng, canvas) * mine)


def rings(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Discs of rings, chirps, spokes and spirals over one another."""
    backdrop(rng, canvas)
    x, y = canvas.axes()
    for part in range(int(rng.integers(2, 6))):
        cx, cy = somewhere(rng, canvas)
        away = np.hypot((x - np.float32(cx)) * np.float32(rng.uniform(0.6, 1.4)), y - np.float32(cy))
        turn = np.arctan2(y - np.float32(cy), x - np.float32(cx)) / np.float32(2 * math.pi)
        kind = int(rng.integers(4))
        if kind == 0:
            phase = away / between(rng, 2.2, 36)
        elif kind == 1:  # a period that shrinks outwards, to 2 or 3 pixels at the far corner
            phase = away**2 / (2 * rng.uniform(2, 3) * max(canvas.width, canvas.height))
        elif kind == 2:
            phase = turn * int(rng.integers(8, 160)) + 0 * away
        else:
            phase = away / between(rng, 4, 36) + turn * int(rng.integers(1, 9))
        inside = np.clip((rng.uniform(0.25, 0.6) * canvas.width - away) * OVERSAMPLE, 0, 1) if part else 1.0
        base = colour(rng)
        canvas.paint(base, inside)
        canvas.paint(ink(rng, base), stripes(phase.astype(np.float32), rng.uniform(0.3, 0.7)) * inside)


def cloth(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Striped, checked or woven cloth in folds; with strong folds, a zebra."""
    base = colour(rng)
    canvas.paint(base)
    x, y = canvas.axes()
    fold = rng.uniform(60, 300)
    depth = np.float32(rng.uniform(0.02, 0.2) * fold)
    bent_x, bent_y = x + depth * hills(rng, canvas, fold), y + depth * hills(rng, canvas, fold)
    along, across = _turned(bent_x, bent_y, rng.uniform(0, math.pi))
    for _ in range(int(rng.integers(1, 4))):
        phase = (along if chance(rng, 0.6) else across) / np.float32(between(rng, 3.5, 60))
        dye = ink(rng, base) if chance(rng, 0.6) else colour(rng)
        canvas.paint(dye, stripes(phase, rng.uniform(0.2, 0.7)) * np.float32(rng.uniform(0.4, 1.0)))
    if chance(rng, 0.5):
        thread = np.float32(2 * math.pi / between(rng, 2.2, 6))
        weave = np.sin(along * thread) * np.sin(across * thread)
        canvas.light(1 + np.float32(rng.uniform(0.05, 0.3)) * weave)
    shade(rng, canvas, fold * rng.uniform(0.7, 2), 0.2)


def cells(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Mosaic, stained glass, cracked earth, a butterfly's wing: cells with borders of even width."""
    size = between(rng, 12, 90)
    rows, columns = math.ceil(canvas.height / size) + 2, math.ceil(canvas.width / size) + 2
    # One seed in each square of a grid, numbered from one square outside the sheet: the nearest two seeds
    # of a point are among those of the nine squares around it.
    jitter = rng.uniform(0.2, 1.0)
    seed_y, seed_x = np.mgrid[-1 : rows - 1, -1 : columns - 1] + 0.5
    seed_x = ((seed_x + jitter * rng.uniform(-0.5, 0.5, seed_x.shape)) * size).astype(np.float32).ravel()
    seed_y = ((seed_y + jitter * rng.uniform(-0.5, 0.5, seed_y.shape)) * size).astype(np.float32).ravel()
    x, y = canvas.axes()
    wave = np.float32(rng.uniform(0, 0.35) * size)
    x, y = x + wave * hills(rng, canvas, size * 1.5), y + wave * hills(rng, canvas, size * 1.5)
    home_x = np.clip(np.floor(x / size).astype(np.int32) + 1, 1, columns - 2)
    home_y = np.clip(np.floor(y / size).astype(np.int32) + 1, 1, rows - 2)
    nearest = np.full(x.shape, np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros(x.shape, np.int32)
    for step_y in (-1, 0, 1):
        for step_x in (-1, 0, 1):
            seed = (home_y + step_y) * columns + home_x + step_x
            away = np.hypot(x - seed_x[seed], y - seed_y[seed])
            second = np.minimum(second, np.maximum(nearest, away))
            owner = np.where(away < nearest, seed, owner)
            nearest = np.minimum(nearest, away)
    base, spread = colour(rng, 0.3), rng.uniform(8, 60)
    tints = np.asarray([near(rng, base, spread) for _ in range(rows * columns)], np.float32)
    canvas.paint(tints[owner])
    border = max(0.6, size * rng.uniform(0.02, 0.2))
    canvas.paint(colour(rng, 0.0, 0.35), np.clip((border - (second - nearest)) * OVERSAMPLE / 2 + 0.5, 0, 1))
    shade(rng, canvas, rng.uniform(20, 200), 0.15)


def strands(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Hair, fur, grass or straw: thousands of thin strokes that follow a common flow."""
    base = colour(rng, 0.2, 0.9)
    canvas.paint(near(rng, base, 20))
    flow = hills(rng, canvas, rng.uniform(80, 400))
    main, sway = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.9)
    thick, long = between(rng, 0.5, 3.0), rng.uniform(15, 90)
    strokes = []
    for _ in range(int(min(9000, 5 * canvas.width * canvas.height / (long * thick)))):
        x, y = somewhere(rng, canvas, 20)
        path = f"M{x:.1f} {y:.1f}"
        for _ in range(3):
            row = int(np.clip(y * OVERSAMPLE, 0, flow.shape[0] - 1))
            column = int(np.clip(x * OVERSAMPLE, 0, flow.shape[1] - 1))
            heading = main + sway * float(flow[row, column]) + rng.normal(0, 0.06)
            x, y = x + long / 3 * math.cos(heading), y + long / 3 * math.sin(heading)
            path += f"L{x:.1f} {y:.1f}"
        width = thick * rng.uniform(0.5, 1.5)
        strokes.append(f'<path d="{path}" stroke="{css(near(rng, base, 38))}" stroke-width="{width:.2f}"/>')
    canvas.draw(f'<g fill="none" stroke-linecap="round" stroke-linejoin="round">{"".join(strokes)}</g>')
    shade(rng, canvas, rng.uniform(60, 250), 0.2)


def foliage(rng: Rng, canvas: Canvas, supplies: Supplies) -> None:
    """Layers of leaves, petals or feathers with veins, the lower ones in the dark."""
    base = colour(rng, 0.3, 0.9)
    canvas.paint(near(rng, base, 30))
    size, slim = between(rng, 22, 150), rng.uniform(0.15, 0.5)
    veins = int(rng.integers(0, 9))
    count = int(min(5000, 2.5 * canvas.width * canvas.height / (slim * size**2)))
    leaves = []
    for i in range(count):
        light = 0.45 + 0.55 * i / count
        fill = near(rng, (int(base[0] * light), int(base[1] * light), int(base[2] * light)), 16)
        vein = near(rng, fill, 25)
        half = slim * rng.uniform(0.8, 1.2)
        ribs = "".join(
            f"M0 {t:.2f}L{side * 0.6 * half * math.sin(math.pi * t):.2f} {t + 0.14:.2f}"
            for t in np.linspace(0.1, 0.8, veins)
            for side in (-1, 1)
        )
        x, y = somewhere(rng, canvas, 20)
        angle, scale = rng.uniform(0, 360), size * rng.uniform(0.6, 1.3)
        place = f"translate({x:.1f} {y:.1f}) rotate({angle:.1f}) scale({scale:.2f})"
        leaf = f"M0 0C{half:.2f} .3 {half:.2f} .7 0 1C{-half:.2f} .7 {-half:.2f} .3 0 0Z"
        leaves.append(
            f'<g transform="{place}"><path d="{leaf}" fill="{css(fill)}"/>'
            f'<path d="M0 0L0 1{ribs}" fill="none" stroke="{css(vein)}" stroke-width=".02"/></g>'
        )
    canvas.draw("".join(leaves))
    shade(rng, canvas, rng.uniform(60, 250), 0.2)


def _turned(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _regular(rng: Rng, canvas: Canvas) -> Array:
    """The cover (H, W) of one regular pattern over the whole sheet."""
    period = between(rng, 2.2, 36)
    along, across = _turned(*canvas.axes(), rng.uniform(0, math.pi))
    along, across = along / period, across / (period * (1.0 if chance(rng, 0.7) else rng.uniform(0.5, 3)))
    duty = rng.uniform(0.25, 0.75)
    kind = int(rng.integers(8))
    if kind == 0:
        return stripes(along, duty)
    if kind == 1:  # soft stripes
        return np.asarray(0.5 + 0.5 * np.sin(2 * math.pi * along), np.float32)
    if kind == 2:  # checks
        one, other = stripes(along), stripes(across)
        return one * other + (1 - one) * (1 - other)
    if kind == 3:  # a grid of lines
        thin = rng.uniform(0.1, 0.35)
        return np.maximum(stripes(along, thin), stripes(across, thin))
    if kind == 4:  # zigzag
        teeth = rng.uniform(1, 6) * np.abs(np.mod(across / 3, 1) - 0.5)
        return stripes(along + np.asarray(teeth, np.float32), duty)
    if kind == 5:  # waves
        swing, pace = np.float32(rng.uniform(0.2, 1.5)), np.float32(rng.uniform(0.5, 2))
        return stripes(along + swing * np.sin(across * pace), duty)
    if kind == 6:  # dots
        slant = along + across * np.float32(rng.choice([0.0, 0.5]))
        inside = rng.uniform(0.2, 0.45) - np.hypot(np.mod(slant, 1) - 0.5, np.mod(across, 1) - 0.5)
        return np.asarray(np.clip(inside * period * OVERSAMPLE + 0.5, 0, 1), np.float32)
    # bricks: the joints between rows, and within every other row half a brick further
    thin = rng.uniform(0.06, 0.2)
    lying = stripes(across + np.float32(0.5), thin)
    standing = np.abs(np.mod(along / 2 + np.floor(across) / 2, 1) - 0.5) * 2 - (1 - thin)
    return np.maximum(lying, np.clip(standing * period * OVERSAMPLE + 0.5, 0, 1).astype(np.float32))
