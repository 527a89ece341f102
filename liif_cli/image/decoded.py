"""What a decoder hands on: the stored samples and everything else the file says, not yet judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Colour = Literal["grey", "rgb", "cmyk"]
BANDS: dict[Colour, int] = {"grey": 1, "rgb": 3, "cmyk": 4}


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Samples as they lie in the file.

    samples:     (h, w, bands) of any type numpy has: colour, then alpha if `alpha`, then the rest.
    orientation: 1 to 8, how the samples lie; 0 where EXIF or XMP may tell.
    exif, icc, xmp: as found, whatever is in them.
    """

    samples: npt.NDArray[Any]
    colour: Colour
    alpha: bool = False
    orientation: int = 0
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def hollow(height: int, width: int, bands: int, dtype: Any) -> npt.NDArray[Any]:
    """Samples of a picture of which only the header was read: the shape and the type, in no memory."""
    return np.broadcast_to(np.zeros((), dtype), (height, width, bands))


class Damaged(Exception):
    """The pixels cannot all be had. The text says why, for the user."""


class Unsupported(Exception):
    """This decoder does not know that kind of file; another may."""


class NoRange(Exception):
    """Numbers that do not say which of them is white. The text says what they are."""


class TooLarge(Exception):
    """The picture is (width, height), more than the reader allows."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(f"{width}x{height}")
        self.width, self.height = width, height


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How large a picture may be. `file_bytes` with `trusted` False also refuses hollow files."""

    max_pixels: int
    file_bytes: int
    trusted: bool

    # Above Pillow's own hard limit, a file that packs more than a thousand pixels into a byte is
    # taken for a bomb unless the user has named a limit: it costs gigabytes and shows one colour.
    HOLLOW_PIXELS = 178_956_970
    HOLLOW_RATIO = 1024

    def check(self, width: int, height: int) -> None:
        """Raise TooLarge before any pixel of a picture of that size is read."""
        pixels = width * height
        hollow = (
            not self.trusted and pixels > self.HOLLOW_PIXELS and pixels > self.HOLLOW_RATIO * self.file_bytes
        )
        if pixels > self.max_pixels or hollow:
            raise TooLarge(width, height)
        if pixels < 1:
            raise Damaged(f"it says {width}x{height} pixels")


def as_integers(samples: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int, tuple[str, ...]]:
    """Any samples as (uint8 or uint16, bits, notes). Raises NoRange where no range can be told.

    Full range is what the type says for 8 and 16 bits. Wider integers and floats have no agreed
    range: 0..65535 and 0..1 are taken for it if the values keep to them.
    """
    kind = samples.dtype.kind
    if samples.dtype == np.uint8:
        return samples, 8, ()
    if samples.dtype.newbyteorder("=") == np.uint16:
        return samples.astype(np.uint16, copy=False), 16, ()
    if samples.dtype == bool:
        return samples.astype(np.uint8) * np.uint8(255), 8, ()
    if kind in "iu":
        return _of_wide_integers(samples)
    if kind == "f":
        return _of_floats(samples)
    raise NoRange(f"{samples.dtype} values")


def _of_wide_integers(samples: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int, tuple[str, ...]]:
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or (high > 65535 and samples.dtype.kind == "i"):
        raise NoRange(f"{8 * samples.dtype.itemsize}-bit values from {low} to {high}")
    if high <= 65535:
        note = f"{8 * samples.dtype.itemsize}-bit values were read as 0 to 65535"
        return samples.astype(np.uint16), 16, (note,)
    top = np.iinfo(samples.dtype).max
    unit = samples.astype(np.float64) / float(top)
    return (
        np.rint(unit * 65535).astype(np.uint16),
        16,
        (f"{8 * samples.dtype.itemsize} bits were reduced to 16",),
    )


def _of_floats(samples: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int, tuple[str, ...]]:
    notes = ["float values were read as 0 to 1"]
    finite = np.isfinite(samples)
    if not finite.all():
        count = samples.size - int(finite.sum())
        notes.append(f"{count:,} values that are no finite number were replaced")
        samples = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=0.0)
        if not finite.any():
            raise NoRange("float values of which none is finite")
    low, high = float(samples.min()), float(samples.max())
    if low < -0.01 or high > 1.01:
        raise NoRange(f"float values from {low:.4g} to {high:.4g}")
    scaled = np.clip(samples, 0.0, 1.0) * 65535 + 0.5
    return scaled.astype(np.uint16), 16, tuple(notes)
