"""A few values of a model, to tell one set of weights from another and a right reading from a wrong one.

A small made-up picture goes through the encoder and the plain `query`; the colours at four points,
one of them at the border, are written in the catalogue and are the same on every machine to `TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from liif_cli.nn.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

HEIGHT, WIDTH = 20, 24
POINTS = ((3.25, 4.75), (10.5, 11.0), (17.9, 2.3), (-0.4, 23.4))  # (y, x) in input pixels
CELL = (0.4, 0.3)
TOLERANCE = 2e-4  # other orders of sums change float32 answers by about 1e-5; other weights by 1e-2


def probe(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> tuple[float, ...]:
    """Red, green, blue at each of `POINTS`, units of [0, 1], not clamped. Runs on the CPU in float32."""
    import torch

    from liif_cli.nn.model import restore

    model = restore(spec, tensors)
    picture = torch.from_numpy(_picture()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        rgb = model.query(model.encode(picture), np.array([POINTS]), CELL)
    return tuple(float(value) for value in rgb.flatten())


def difference(values: tuple[float, ...], others: tuple[float, ...]) -> float:
    """Largest difference of two probes; infinite if they are not alike in kind."""
    if len(values) != len(others):
        return float("inf")
    return max(abs(a - b) for a, b in zip(values, others, strict=True))


def _picture() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(HEIGHT, WIDTH, 3) in [0, 1]: three slopes and a checkered corner, from whole numbers."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    checks = 60 * ((y // 3 + x // 2) % 2) * (y + x > 20)
    bands = [5 * y + 3 * x + checks, 180 - 7 * y + 2 * x - checks, 40 + 4 * x + checks]
    return (np.stack(bands, axis=-1).clip(0, 255) / 255).astype(np.float32)
