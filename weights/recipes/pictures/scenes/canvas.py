"""A sheet four times finer than the picture it becomes.

Everything is drawn at ``OVERSAMPLE`` times the final size and reduced once, at the end: edges are crisp
and yet hold no frequency that the final grid cannot carry. Lengths are in final pixels throughout; arrays
over the sheet are (H, W) or (H, W, 3) with H, W = ``OVERSAMPLE`` times the height and width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

OVERSAMPLE = 4

Array = npt.NDArray[np.float32]
Colour = tuple[int, int, int]  # red, green, blue, 0 to 255
Point = tuple[float, float]  # x, y


class Canvas:
    """One picture in the making, opaque RGB; scenes draw on it from back to front."""

    def __init__(self, width: int, height: int, colour: Colour) -> None:
        self.width = width
        self.height = height
        self._sheet = Image.new("RGB", (width * OVERSAMPLE, height * OVERSAMPLE), colour)

    def draw(self, svg: str) -> None:
        """Draw SVG elements, the origin at the upper left corner."""
        document = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}">{svg}</svg>'
        )
        layer = pyvips.Image.svgload_buffer(document.encode(), scale=OVERSAMPLE, unlimited=True)
        self._paste(Image.fromarray(layer.numpy()), (0, 0))

    def place(self, drawing: Path, centre: Point, size: float, angle: float = 0.0) -> bool:
        """Draw an SVG file, its longer side ``size``, turned by ``angle`` degrees; False if it is empty."""
        layer = rasterised(drawing, size * OVERSAMPLE)
        if layer is None:
            return False
        if angle:
            layer = layer.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        left = round(centre[0] * OVERSAMPLE - layer.width / 2)
        top = round(centre[1] * OVERSAMPLE - layer.height / 2)
        self._paste(layer, (left, top))
        return True

    def paint(self, colour: Colour | Array, cover: Array | float = 1.0) -> None:
        """Lay a colour, or one a sample (H, W, 3), over the sheet as far as ``cover`` (H, W) in 0..1 says."""
        below = self._samples()
        above = np.asarray(colour, np.float32)
        share = np.asarray(cover, np.float32)[..., None]
        self._set(below + (above - below) * share)

    def light(self, gain: Array) -> None:
        """Multiply every sample by ``gain`` (H, W)."""
        self._set(self._samples() * gain[..., None])

    def warp(self, x: Array, y: Array) -> None:
        """Replace every sample by what lies at (x, y), both (H, W) and on the sheet; bicubic."""
        # pyvips counts from the middle of the first sample, we from its edge.
        index = np.stack([x, y], -1).astype(np.float32) * OVERSAMPLE - np.float32(0.5)
        moved = pyvips.Image.new_from_array(np.asarray(self._sheet)).mapim(
            pyvips.Image.new_from_array(index), interpolate=pyvips.Interpolate.new("bicubic")
        )
        self._sheet = Image.fromarray(moved.cast("uchar").numpy())

    def axes(self) -> tuple[Array, Array]:
        """The x (1, W) and the y (H, 1) of the samples' centres."""
        x, y = (
            (np.arange(side * OVERSAMPLE, dtype=np.float32) + np.float32(0.5)) / np.float32(OVERSAMPLE)
            for side in (self.width, self.height)
        )
        return x[None, :], y[:, None]

    def picture(self, kernel: Image.Resampling) -> Image.Image:
        """The finished picture."""
        return self._sheet.resize((self.width, self.height), kernel)

    def _samples(self) -> Array:
        return np.asarray(self._sheet, np.float32)

    def _set(self, samples: Array) -> None:
        self._sheet = Image.fromarray(np.clip(samples + np.float32(0.5), 0, 255).astype(np.uint8))

    def _paste(self, layer: Image.Image, corner: tuple[int, int]) -> None:
        self._sheet.paste(layer, corner, layer)


def rasterised(drawing: Path, size: float) -> Image.Image | None:
    """What is drawn in an SVG file, as RGBA, its longer side ``size`` samples; None if that is nothing.

    The empty margins of the file are cut off. None, too, for a file that cannot be read, or of which so
    little is drawn that the rest would have to be larger than four times the size.
    """
    try:
        page = pyvips.Image.svgload(str(drawing), unlimited=True)
        small = 256 / max(page.width, page.height)
        seen = Image.fromarray(
            pyvips.Image.svgload(str(drawing), scale=small, unlimited=True).numpy()
        ).getbbox()
        if seen is None:
            return None
        share = max(seen[2] - seen[0], seen[3] - seen[1]) / 256
        if share < 0.25:
            return None
        scale = small * size / (256 * share)
        whole = Image.fromarray(pyvips.Image.svgload(str(drawing), scale=scale, unlimited=True).numpy())
    except pyvips.Error:
        return None
    return whole.crop(whole.getbbox())


def stripes(phase: Array, duty: float = 0.5) -> Array:
    """How much of each sample is covered by stripes that fill ``duty`` of every unit of ``phase`` (H, W).

    An edge is as wide as one sample whatever the local period, and where a period has less than four
    samples the stripes fade into their mean: a chirp does not alias. A phase may jump by a whole number.
    """
    slope = np.hypot(_steepness(phase, 0), _steepness(phase, 1)) + np.float32(1e-6)  # periods a sample
    away = np.abs(np.mod(phase, 1) - np.float32(0.5))  # from the middle of a stripe, in periods
    edge = np.clip((np.float32(duty / 2) - away) / slope + np.float32(0.5), 0, 1)
    seen = np.clip(2 - 4 * slope, 0, 1)
    return np.asarray(edge * seen + np.float32(duty) * (1 - seen), np.float32)


def _steepness(phase: Array, axis: int) -> Array:
    """How fast the phase changes, on the slower of both sides: a jump is passed over."""
    steps = np.abs(np.diff(phase, axis=axis))
    first, last = np.take(steps, [0], axis), np.take(steps, [-1], axis)
    before, after = np.concatenate([first, steps], axis), np.concatenate([steps, last], axis)
    return np.asarray(np.minimum(before, after), np.float32)
