"""`Options`: how pictures are enlarged, beside model and target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Alpha = Literal["model", "resample", "drop"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """For all pictures of an `Upscaler`.

    alpha:  `model`: transparency as a grey picture through the model; `resample`: bicubic; `drop`:
            flattened on `background`.
    background: (red, green, blue) of 0 to 255, under dropped transparency and around padded pictures.
    tta:    mean over eight flips and turns: about +0.1 dB, eight times the time.
    cell:   ask for pixels of so many times the natural size: sharper below 1, softer above.
    tile_px: input pixels a side of a tile; None: the plan chooses.
    """

    alpha: Alpha = "model"
    background: tuple[int, int, int] = (255, 255, 255)
    tta: bool = False
    cell: float = 1.0
    tile_px: int | None = None
