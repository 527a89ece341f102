"""The standard picture: a photo that no file is needed for."""

from __future__ import annotations

import numpy as np

from liif_cli.image.picture import Picture, quantize

_DISCS = 1000
_SKY = np.array([[0.45, 0.6, 0.85], [0.9, 0.85, 0.75]], np.float32)  # above, below


def picture(width: int, height: int, *, seed: int = 0) -> Picture:
    """A made-up photo, (height, width, 3) uint8: dead leaves before a sky, with the grain of a sensor.

    Discs of random colour and shade cover one another: with radii of density r^-3 their edges and
    spectrum are those of photos (Lee, Mumford, Huang: Occlusion models for natural images, 2001).
    Discs grow with the picture, edges and grain do not. The same picture for the same size and seed.
    """
    chance = np.random.default_rng(seed)
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    rgb = np.repeat((1 - down) * _SKY[0] + down * _SKY[1], width, axis=1)
    side = max(width, height)
    smallest, largest = side / 200, side / 4
    for _ in range(_DISCS):
        part = chance.random()
        radius = (smallest**-2 - part * (smallest**-2 - largest**-2)) ** -0.5
        x0, y0 = chance.random() * width, chance.random() * height
        colour = chance.uniform(0.1, 0.9) + chance.normal(0, 0.08, 3)
        shade_x, shade_y = chance.normal(0, 0.12, 2)
        there = _within(y0, radius, height), _within(x0, radius, width)
        y = (np.arange(there[0].start, there[0].stop)[:, None, None] - y0) / radius
        x = (np.arange(there[1].start, there[1].stop)[:, None] - x0) / radius
        cover = np.clip((1 - np.hypot(y, x)) * radius + 0.5, 0, 1)  # an edge is one pixel wide
        rgb[there] += cover * (colour + shade_x * x + shade_y * y - rgb[there])
    rgb += 0.008 * chance.standard_normal(rgb.shape, np.float32)
    return Picture(pixels=quantize(rgb, 8))


def _within(centre: float, radius: float, size: int) -> slice:
    """What a disc may touch along an axis."""
    return slice(max(0, int(centre - radius) - 1), min(size, int(centre + radius) + 2))
