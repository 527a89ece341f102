"""`Picture`: what a file holds, once it is upright and in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An upright picture in its own (encoded) colour space.

    pixels: (h, w, c), c = 1 grey or 3 RGB; uint8, uint16 (full range) or float32 in [0, 1].
    alpha:  (h, w) of the same dtype as `pixels`, straight (not premultiplied), or None.
    bits:   8 or 16: the depth worth keeping, whatever the dtype (float32 is computed, not stored).
    icc:    colour profile of `pixels`, None = sRGB by custom.
    exif:   EXIF block without orientation, or None.
    notes:  one line for everything that was lost or doubtful when it was read.
    """

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
    alpha: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32] | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])
