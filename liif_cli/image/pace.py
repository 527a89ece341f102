"""How long writing takes here, found out with a small made-up picture."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from liif_cli.image.bands import Canvas, Encoding, write_bands
from liif_cli.image.resample import resample

# A picture of so many pixels a side, made so many times as large: as smooth as results are.
_SIDE, _FACTOR = 128, 6


@lru_cache
def seconds_per_pixel(encoding: Encoding, *, channels: int, alpha: bool, bits: int) -> float:
    """What packing and storing a pixel of a photo takes. Raises PictureError as `write_bands`."""
    side = _SIDE * _FACTOR
    canvas = Canvas(width=side, height=side, channels=channels, alpha=alpha, bits=bits)
    enlarged = np.clip(resample(_landscape(canvas.samples), (side, side)), 0, 1)
    times = []
    for rows in (8, side):  # the first is for loading libraries
        start = perf_counter()
        write_bands(io.BytesIO(), [enlarged[:rows]], replace(canvas, height=rows), encoding)
        times.append(perf_counter() - start)
    return times[-1] / side**2


def _landscape(samples: int) -> npt.NDArray[np.float32]:
    """(side, side, samples) in [0, 1]: noise with the falling spectrum of photos, channels much alike."""
    chance = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)
    falling = np.maximum(np.hypot(rows, columns), 1 / _SIDE) ** -1.4

    def plane() -> npt.NDArray[Any]:
        return np.fft.irfft2(np.fft.rfft2(chance.standard_normal((_SIDE, _SIDE))) * falling)

    common = plane()
    planes = np.stack([common + 0.3 * plane() for _ in range(samples)], axis=2)
    values: npt.NDArray[np.float32] = (0.5 + 0.2 * planes / planes.std()).clip(0, 1).astype(np.float32)
    return values
