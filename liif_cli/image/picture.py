"""`Picture`: what a file holds, once it is upright and in memory. Float and integer, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An upright picture in its own (encoded) colour space.

    pixels: (h, w, c), c = 1 grey or 3 RGB; uint8, uint16 (full range) or float32 in [0, 1].
    alpha:  (h, w) of the same dtype as `pixels`, straight (not premultiplied), or None.
    bits:   8 or 16: the depth worth keeping, whatever the dtype (float32 is computed, not stored).
    icc:    colour profile of `pixels`, None = sRGB by custom.
    exif:   EXIF block (a TIFF structure, without the `Exif` prefix of JPEG), upright, or None.
    xmp:    XMP packet, upright, or None.
    dpi:    (x, y) pixels per inch as the file says, or None; carried over unchanged.
    format: name of the format it was read from (`image/formats.py`), None if it comes from no file.
    notes:  one line for everything that was lost or doubtful when it was read.
    """

    pixels: Samples
    alpha: Samples | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """1 grey or 3 RGB; alpha is not counted."""
        return int(self.pixels.shape[2])


def as_float(picture: Picture) -> Floats:
    """The colour of `picture` as float32 (h, w, c) in [0, 1]."""
    return to_unit(picture.pixels)


def to_unit(samples: npt.NDArray[Any]) -> Floats:
    """Samples of any allowed type as float32 in [0, 1]: full range of the integer is 1."""
    if samples.dtype == np.float32:
        return samples
    if samples.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"samples are uint8, uint16 or float32, not {samples.dtype}")
    unit: Floats = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    return unit


def quantize(values: npt.NDArray[np.floating[Any]], bits: int) -> npt.NDArray[Any]:
    """Values in [0, 1] as uint8 (`bits` 8) or uint16 (16): clamped, rounded half up, NaN to 0.

    Any shape; the result has the same.
    """
    if bits not in (8, 16):
        raise ValueError(f"8 or 16 bits, not {bits}")
    top = 255 if bits == 8 else 65535
    # float32 holds 65535.5 exactly, so rounding half up is right in both depths
    scaled = np.asarray(values, np.float32) * np.float32(top) + np.float32(0.5)
    np.clip(np.nan_to_num(scaled, copy=False), 0, top, out=scaled)
    return scaled.astype(np.uint8 if bits == 8 else np.uint16)  # astype cuts the fraction off


def to_bits(samples: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Samples of any allowed type as uint8 or uint16; 16 to 8 bits is v / 257, rounded half up."""
    if samples.dtype == np.uint8:
        return samples if bits == 8 else samples.astype(np.uint16) * np.uint16(257)
    if samples.dtype == np.uint16:
        if bits == 16:
            return samples
        return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return quantize(samples, bits)
