"""Antialiased bicubic and Lanczos, separable, as Pillow defines them: the baseline, and the way to shrink.

Output pixel i of N over n input pixels is centred on (i + 1/2) n / N. The kernel is stretched by the
factor of shrinking, cut at the picture's border and normalised, so a constant stays constant. The
kernels are Keys' cubic with a = -1/2 and Lanczos with three lobes, the values `PIL.Image.resize` uses.

Each axis is a banded matrix. It is applied as a few small dense products, one per block of output
rows, which is what a BLAS is good at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from liif_cli.image.picture import Floats, to_unit

Kernel = Literal["bicubic", "lanczos"]

_RADIUS: dict[Kernel, float] = {"bicubic": 2.0, "lanczos": 3.0}
_BLOCK = 64  # output pixels per product: long enough for the BLAS, short enough to stay banded


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of the result, in output pixels."""

    top: int
    left: int
    height: int
    width: int


def resample(
    samples: npt.NDArray[Any],
    size: tuple[int, int],
    kernel: Kernel = "bicubic",
    *,
    window: Window | None = None,
) -> Floats:
    """Resample (h, w, c) or (h, w) to `size` = (height, width), or to a `window` of that.

    Integers are taken as [0, 1] of their full range. The result is float32 in the same unit; it
    overshoots at edges and is not clamped. In between, the result of the first axis is, as Pillow
    does with 8 bits: on photographs the rounded result equals Pillow's within one level (Pillow
    also rounds in between: on pure noise that makes it two at times).
    """
    height, width = size
    window = window or Window(top=0, left=0, height=height, width=width)
    _check(samples.shape, size, window)
    plain = samples.ndim == 2
    rows = _Axis.of(samples.shape[0], height, window.top, window.height, kernel)
    columns = _Axis.of(samples.shape[1], width, window.left, window.width, kernel)
    read = samples[rows.reads, columns.reads]
    planes = to_unit(read[..., None] if plain else read).transpose(2, 0, 1)  # (c, h, w)
    if _rows_first(samples.shape, size):
        planes = columns.across(_clamped(rows.down(planes)))
    else:
        planes = rows.down(_clamped(columns.across(planes)))
    out = np.ascontiguousarray(planes.transpose(1, 2, 0))
    return out[..., 0] if plain else out


def resample_8bit(
    samples: npt.NDArray[np.uint8], size: tuple[int, int], kernel: Kernel = "bicubic"
) -> npt.NDArray[np.uint8]:
    """`PIL.Image.resize` itself, for the protocols whose figures rest on its 8-bit rounding.

    (h, w, 1 or 3) or (h, w) to `size` = (height, width); uint8 in and out.
    """
    from PIL import Image

    how = Image.Resampling.BICUBIC if kernel == "bicubic" else Image.Resampling.LANCZOS
    flat = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
    out = np.asarray(Image.fromarray(flat).resize((size[1], size[0]), how))
    return out[..., None] if flat.ndim < samples.ndim else out


def weights(
    size_in: int, size_out: int, kernel: Kernel, start: int = 0, stop: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """What each of the output pixels `start` to `stop` reads along one axis.

    Returns first (N,), the first input pixel, and weight (N, T), of that pixel and the T - 1 after
    it; each row sums to 1 and is 0 beyond the picture's border.
    """
    stop = size_out if stop is None else stop
    shrink = max(size_in / size_out, 1.0)
    support = _RADIUS[kernel] * shrink
    centre = (np.arange(start, stop, dtype=np.float64) + 0.5) * (size_in / size_out)
    first = np.maximum(np.trunc(centre - support + 0.5), 0).astype(np.int64)
    last = np.minimum(np.trunc(centre + support + 0.5), size_in).astype(np.int64)
    taps = int((last - first).max(initial=1))
    index = first[:, None] + np.arange(taps)
    weight = _kernel((index + 0.5 - centre[:, None]) / shrink, kernel)
    weight[index >= last[:, None]] = 0.0
    return first, weight / weight.sum(axis=1, keepdims=True)


def _kernel(x: npt.NDArray[np.float64], kernel: Kernel) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    if kernel == "lanczos":
        return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _rows_first(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    # The order shows only through the clamp in between. This is Pillow 13's, found by comparing
    # with it (1,270 random sizes without an exception); Pillow 12 always begins with the columns.
    fewer_rows, fewer_columns = shape[0] - size[0], shape[1] - size[1]
    return fewer_rows > 0 and fewer_rows > 2 * fewer_columns


def _clamped(planes: Floats) -> Floats:
    return np.clip(planes, 0.0, 1.0, out=planes)


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One axis of the resampling as a banded matrix, cut into dense blocks.

    reads:  the input pixels that matter.
    blocks: (output pixels, input pixels counted from the first of `reads`, matrix).
    """

    length: int
    reads: slice
    blocks: tuple[tuple[slice, slice, Floats], ...]

    @classmethod
    def of(cls, size_in: int, size_out: int, start: int, length: int, kernel: Kernel) -> _Axis:
        first, weight = weights(size_in, size_out, kernel, start, start + length)
        taps = weight.shape[1]
        begin, end = int(first.min()), min(int(first.max()) + taps, size_in)
        blocks = []
        for a in range(0, length, _BLOCK):
            b = min(a + _BLOCK, length)
            low, high = int(first[a:b].min()), min(int(first[a:b].max()) + taps, size_in)
            # a weight beyond the border is 0: whatever pixel it is moved to, it adds nothing
            place = np.minimum(first[a:b, None] - low + np.arange(taps), high - low - 1)
            matrix = np.zeros((b - a, high - low))
            np.add.at(matrix, (np.arange(b - a)[:, None], place), weight[a:b])
            blocks.append((slice(a, b), slice(low - begin, high - begin), matrix.astype(np.float32)))
        return cls(length=length, reads=slice(begin, end), blocks=tuple(blocks))

    def down(self, planes: npt.NDArray[Any]) -> Floats:
        """Along the rows of (c, h, w)."""
        out = np.empty((planes.shape[0], self.length, planes.shape[2]), np.float32)
        for plane, result in zip(planes, out, strict=True):
            plane = np.ascontiguousarray(plane)
            for there, here, matrix in self.blocks:
                np.matmul(matrix, plane[here], out=result[there])
        return out

    def across(self, planes: npt.NDArray[Any]) -> Floats:
        """Along the columns of (c, h, w)."""
        out = np.empty((planes.shape[0], planes.shape[1], self.length), np.float32)
        for plane, result in zip(planes, out, strict=True):
            plane = np.ascontiguousarray(plane)
            for there, here, matrix in self.blocks:
                result[:, there] = plane[:, here] @ matrix.T
        return out


def _check(shape: tuple[int, ...], size: tuple[int, int], window: Window) -> None:
    if len(shape) not in (2, 3) or min(shape) < 1 or min(size) < 1:
        raise ValueError(f"cannot resample {shape} to {size}")
    inside = window.top >= 0 and window.top + window.height <= size[0]
    inside = inside and window.left >= 0 and window.left + window.width <= size[1]
    if not inside or min(window.height, window.width) < 1:
        raise ValueError(f"{window} leaves the result {size}")
