"""Transparency: what colour lies under it before enlarging, and how it is got rid of.

Colour and alpha are enlarged apart. Where nothing is visible the colour is junk, often black, and
would bleed into the rim of what is; so the nearest visible colour is spread there first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from liif_cli.image.picture import Floats, Picture, quantize, to_unit

REACH_PX = 48
"""How far colour is spread: beyond the kernel of any resampler, and about as far as a model looks."""


def bleed(picture: Picture, *, reach_px: int = REACH_PX) -> Picture:
    """The picture with the nearest visible colour spread under full transparency.

    Whatever is visible at all, and alpha, stay as they are. Farther than `reach_px` from anything
    visible there is the mean colour. A picture without alpha, or without anything visible or
    invisible, comes back as it is.
    """
    if picture.alpha is None:
        return picture
    visible = picture.alpha > 0
    if visible.all() or not visible.any():
        return picture
    mean = picture.pixels[visible].mean(axis=0, dtype=np.float64)
    # A frame of one pixel, neither filled nor to be filled, saves asking for the border each time.
    known, empty = np.pad(visible, 1), np.pad(~visible, 1)
    colour = np.pad(picture.pixels, ((1, 1), (1, 1), (0, 0)))
    row = known.shape[1]
    around = np.array([-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1])
    flat_known, flat_empty, flat_colour = known.ravel(), empty.ravel(), colour.reshape(-1, colour.shape[2])
    rim = np.flatnonzero(empty & _beside(known))
    for _ in range(reach_px):
        if not len(rim):
            break
        flat_colour[rim] = _mean_around(flat_colour, flat_known, rim, around)
        flat_known[rim], flat_empty[rim] = True, False
        beyond = (rim[:, None] + around).ravel()
        rim = np.unique(beyond[flat_empty[beyond]])
    flat_colour[flat_empty] = _like(mean, colour.dtype)
    return replace(picture, pixels=np.ascontiguousarray(colour[1:-1, 1:-1]))


def around(
    alpha: npt.NDArray[Any], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """The least and the most that an enlarged alpha may be, (N, M) each, from the samples around its pixels.

    alpha: (h, w); rows (N, 2), columns (M, 2): the samples' indices on either side, twice the same for a
    pixel that lies on one. Networks learn from pictures whose edges are smooth; beside one of 0 and 255 they
    ring, which would show as specks on what is fully transparent. So a pixel leaves the range of its four
    samples by that range at most: where they are equal it is what they are, and no edge is less steep for it.
    """
    (above, below), (left, right) = to_unit(alpha[rows.T]), columns.T
    least, most = np.minimum(above, below), np.maximum(above, below)
    least, most = np.minimum(least[:, left], least[:, right]), np.maximum(most[:, left], most[:, right])
    return 2 * least - most, 2 * most - least


def flatten(picture: Picture, background: tuple[int, int, int] = (255, 255, 255)) -> Picture:
    """The picture laid on a background (red, green, blue of 0 to 255), without alpha.

    Composed in encoded values, as viewers do. Grey stays grey on a grey background and becomes RGB,
    without its grey profile, on any other.
    """
    if picture.alpha is None:
        return picture
    pixels, icc = to_unit(picture.pixels), picture.icc
    ground = np.array(background, np.float32) / np.float32(255)
    if picture.channels == 1:
        if len(set(background)) == 1:
            ground = ground[:1]
        else:
            pixels, icc = np.repeat(pixels, 3, axis=2), None
    cover = to_unit(picture.alpha)[..., None]
    mixed = pixels * cover + ground * (1 - cover)
    whole = picture.pixels.dtype != np.float32
    return replace(
        picture,
        pixels=quantize(mixed, 8 * picture.pixels.dtype.itemsize) if whole else mixed,
        alpha=None,
        icc=icc,
    )


def _beside(known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where one of the eight neighbours is known."""
    wide = known.copy()
    wide[1:] |= known[:-1]
    wide[:-1] |= known[1:]
    both = wide.copy()
    both[:, 1:] |= wide[:, :-1]
    both[:, :-1] |= wide[:, 1:]
    return both


def _mean_around(
    colour: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    here: npt.NDArray[np.int64],
    around: npt.NDArray[np.int64],
) -> npt.NDArray[Any]:
    total = np.zeros((len(here), colour.shape[1]), np.float32)
    count = np.zeros((len(here), 1), np.float32)
    for step in around:
        there = here + step
        counts = known[there][:, None]
        total += colour[there] * counts
        count += counts
    return _like(total / count, colour.dtype)


def _like(values: npt.NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return (values + (0.5 if dtype.kind == "u" else 0.0)).astype(dtype)
