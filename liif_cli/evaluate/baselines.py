"""What a model has to beat: Pillow's bicubic and Lanczos, and its own x4 result made to fit.

The two filters work on 8 bits because Pillow does; the published baselines are made so too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from liif_cli.engine.target import Target
from liif_cli.image.picture import Picture, as_float, to_bits
from liif_cli.image.resample import Kernel, resample, resample_8bit

Upscale = Callable[[Picture, Target], Picture]

# The scale of the shortcut: nearly every tool that has one scale only has this one.
SHORTCUT = 4


def bicubic(picture: Picture, target: Target) -> Picture:
    """Pillow's bicubic (a = -0.5, antialiased where it shrinks), in 8 bits."""
    return _by_pillow(picture, target, "bicubic")


def lanczos(picture: Picture, target: Target) -> Picture:
    """Pillow's Lanczos (three lobes, antialiased where it shrinks), in 8 bits."""
    return _by_pillow(picture, target, "lanczos")


def x4_lanczos(upscale: Upscale) -> Upscale:
    """The shortcut of tools for one scale: `upscale` by 4, then Lanczos to the size asked for.

    In floats: the x4 result is rounded in between only if `upscale` itself rounds it.
    """

    def through_x4(picture: Picture, target: Target) -> Picture:
        width, height = target.output_size(picture.width, picture.height)
        large = upscale(picture, Target(size=(SHORTCUT * picture.width, SHORTCUT * picture.height)))
        if (large.width, large.height) == (width, height):
            return large
        pixels = resample(as_float(large), (height, width), "lanczos")
        return Picture(pixels=np.clip(pixels, 0.0, 1.0), bits=large.bits)

    return through_x4


def _by_pillow(picture: Picture, target: Target, kernel: Kernel) -> Picture:
    width, height = target.output_size(picture.width, picture.height)
    return Picture(pixels=resample_8bit(to_bits(picture.pixels, 8), (height, width), kernel))
