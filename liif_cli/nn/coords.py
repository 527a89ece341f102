"""Where a point lies between the codes: taps, offsets and weights of one axis (LIIF.md 2).

Both axes are alike, so everything here is about one. Input pixels are counted from 0, their
centres lie at whole numbers; pixel i of an output of size H over an input of size h lies at

    u = ((2 i + 1) h - H) / (2 H)

which is whole-number arithmetic up to the last division, so nothing drifts however large H is.
The paper writes points x in [-1, 1]: u = ((x + 1) h - 1) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Columns of a block, and the most in a low window: then several output rows share what is picked for their
# input rows. The bilinear copy's matrix grows with the square of them.
_BLOCK_COLUMNS, _WIDEST_BLOCK = 256, 1024

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A regular grid of output pixels over an input, or a window of it. All in pixels.

    The window starts at output row `top`, column `left`, and is `height` x `width` large. The model
    is asked for pixels `cell_factor` times their natural size: sharper below 1, softer above.
    """

    in_height: int
    in_width: int
    out_height: int
    out_width: int
    top: int
    left: int
    height: int
    width: int
    cell_factor: float = 1.0

    def __post_init__(self) -> None:
        if min(self.in_height, self.in_width, self.height, self.width) < 1:
            raise ValueError(f"a grid has at least one pixel: {self}")
        inside = self.top >= 0 and self.top + self.height <= self.out_height
        inside = inside and self.left >= 0 and self.left + self.width <= self.out_width
        if not inside:
            raise ValueError(f"the window leaves the output: {self}")

    @classmethod
    def whole(cls, in_height: int, in_width: int, out_height: int, out_width: int) -> Grid:
        """The grid without a window."""
        return cls(
            in_height=in_height,
            in_width=in_width,
            out_height=out_height,
            out_width=out_width,
            top=0,
            left=0,
            height=out_height,
            width=out_width,
        )

    @property
    def cell(self) -> tuple[float, float]:
        """(height, width) of the asked-for pixel in input pixels."""
        factor = self.cell_factor
        return factor * self.in_height / self.out_height, factor * self.in_width / self.out_width

    def rows(self) -> AxisTaps:
        """Taps of the window's rows."""
        return taps(self.in_height, self.out_height, self.top, self.top + self.height)

    def columns(self) -> AxisTaps:
        """Taps of the window's columns."""
        return taps(self.in_width, self.out_width, self.left, self.left + self.width)


def block_shape(height: int, width: int, pixels: int) -> tuple[int, int]:
    """(rows, columns) of the blocks of about so many pixels in which a window of this size is rendered."""
    across = min(width, max(_BLOCK_COLUMNS, min(_WIDEST_BLOCK, pixels // height)))
    return min(height, max(1, pixels // across)), across


@dataclass(frozen=True, kw_only=True)
class AxisTaps:
    """The codes asked along one axis for N points.

    index:  (N, 2) which code, clamped to the picture.
    offset: (N, 2) point minus code, in input pixels; beyond the border it exceeds 1/2 or 1.
    weight: (N, 2) share of the tap in the answer, sums to 1 over the two.
    """

    index: Whole
    offset: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.index)

    def nearest(self) -> AxisTaps:
        """Without local ensemble: the nearer tap of each point alone, (N, 1). A tie goes up."""
        near = (np.abs(self.offset[:, 1]) <= np.abs(self.offset[:, 0])).astype(np.int64)[:, None]
        return AxisTaps(
            index=np.take_along_axis(self.index, near, 1),
            offset=np.take_along_axis(self.offset, near, 1),
            weight=np.ones((len(self), 1)),
        )


def taps(size_in: int, size_out: int, start: int = 0, stop: int | None = None) -> AxisTaps:
    """Taps of the output pixels `start` to `stop` (default: all) of `size_out` over `size_in`."""
    stop = size_out if stop is None else stop
    if not (size_in >= 1 and 0 <= start <= stop <= size_out):
        raise ValueError(f"no output pixels {start} to {stop} of {size_out} over {size_in}")
    i = np.arange(start, stop, dtype=np.int64)
    below, part = np.divmod((2 * i + 1) * size_in - size_out, 2 * size_out)
    return _between(below, part / (2 * size_out), size_in)


def taps_at(u: Floats, size_in: int) -> AxisTaps:
    """Taps of any points `u` (N,), in input pixels. Points outside the picture are clamped to it."""
    u = np.clip(np.asarray(u, np.float64), -0.5, size_in - 0.5)
    below = np.floor(u)
    return _between(below.astype(np.int64), u - below, size_in)


def _between(below: Whole, part: Floats, size_in: int) -> AxisTaps:
    """Taps `below` and `below + 1` for points that lie `part` (0 to 1) beyond `below`."""
    wanted = np.stack([below, below + 1], axis=1)
    index = np.clip(wanted, 0, size_in - 1)
    offset = np.stack([part, part - 1.0], axis=1) + (wanted - index)
    # LIIF eq. 4: a tap weighs as much as the rectangle opposite to it. Where both taps are the
    # same border code their answers are equal, and so are their weights.
    same = index[:, 0] == index[:, 1]
    first = np.where(same, 0.5, 1.0 - part)
    return AxisTaps(index=index, offset=offset, weight=np.stack([first, 1.0 - first], axis=1))
