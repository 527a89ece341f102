"""What a result is judged by: one function per number, each with its source.

Arrays are (H, W, 3) RGB or (H, W) one plane, floats in [0, 1]; sums run in float64. The names a user
may ask for are in `METRICS`; each takes a `Comparison`, which holds all that a number may depend on.
Numbers by learned networks (LPIPS and the like) are not ours: `perceptual.py` asks a package for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from liif_cli.image.resample import resample

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]
Channel = Literal["y", "rgb"]

# Luma of ITU-R BT.601 as MATLAB's rgb2ycbcr has it, without its offset of 16: 8-bit levels to 8-bit
# levels, so values in [0, 1] give 0 to 219.86 / 256. LIIF.md 6, and the code of EDSR and of LIIF.
LUMA = np.array([65.738, 129.057, 25.064]) / 256

# Wang et al. 2004, section III-B: an 11x11 Gaussian window with a standard deviation of 1.5.
SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
_SSIM_ROWS = 128  # windows are taken so many rows at a time: a dozen planes of a large picture are much


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One result beside the truth, and what else a number may depend on.

    result, truth: (H, W, 3) RGB in [0, 1].
    given:         (h, w, 3) RGB in [0, 1]: what the upscaler was given.
    border:        (rows, columns) that the protocol leaves out at each side.
    channel:       what the protocol takes PSNR over.
    ask:           the same upscaler's result for the same input at another size (width, height).
    """

    result: Floats
    truth: Floats
    given: Floats
    border: tuple[int, int]
    channel: Channel
    ask: Callable[[int, int], Floats]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number a user can ask for.

    unit:   "dB" or "".
    better: which direction is the better one.
    says:   what is measured, in one line, for tables and help.
    window: smallest side in pixels that must be left inside the border.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    says: str
    value: Callable[[Comparison], float]
    window: int = 1


def luma(rgb: Array) -> npt.NDArray[np.float64]:
    """Y of BT.601 without its offset, (H, W, 3) -> (H, W). See `LUMA`."""
    return np.asarray(rgb, np.float64) @ LUMA


def psnr(result: Array, truth: Array) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1: -10 log10 of the mean squared difference.

    Infinite where both are equal. Over the mean of the picture, not a mean over channels (LIIF.md 6).
    """
    error = float(np.mean(np.square(np.asarray(result, np.float64) - np.asarray(truth, np.float64))))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(result: Array, truth: Array) -> float:
    """Mean structural similarity of two planes (H, W) in [0, 1], both at least 11 pixels a side.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", IEEE TIP 13(4), 2004, eq. 13: Gaussian
    window 11x11, sigma 1.5, K1 = 0.01, K2 = 0.03, weighted (not sample) variances, only windows that
    lie wholly inside. The same as scikit-image's `structural_similarity` with `gaussian_weights=True,
    use_sample_covariance=False, data_range=1`.
    """
    a, b = np.asarray(result, np.float64), np.asarray(truth, np.float64)
    if min(a.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs {SSIM_WINDOW} pixels a side, not {a.shape[1]}x{a.shape[0]}")
    rows, columns = a.shape[0] - SSIM_WINDOW + 1, a.shape[1] - SSIM_WINDOW + 1
    total = 0.0
    for top in range(0, rows, _SSIM_ROWS):
        strip = slice(top, top + _SSIM_ROWS + SSIM_WINDOW - 1)
        total += float(np.sum(_ssim_map(a[strip], b[strip])))
    return total / float(rows * columns)


def lr_consistency(result: Array, given: Array) -> float:
    """PSNR in dB over RGB of the result, reduced by antialiased bicubic, against the input.

    The whole picture, no border. "LR-PSNR" of Lugmayr et al., NTIRE 2021 challenge on learning the
    super-resolution space, with Pillow's bicubic kernel (unrounded).
    """
    return psnr(_reduced(result, given.shape[0], given.shape[1]), given)


def scale_consistency(result: Array, twice: Array) -> float:
    """PSNR in dB over RGB of the result at twice the scale, reduced to this scale, against this one.

    The whole picture, no border; bicubic as in `lr_consistency`. A continuous picture that is asked
    for finer pixels should hold the coarser ones; no truth takes part. Ours.
    """
    return psnr(_reduced(twice, result.shape[0], result.shape[1]), result)


def border_band(result: Array, truth: Array, border: tuple[int, int]) -> float:
    """PSNR with the border minus PSNR without, in dB: below zero where the rim is the worse part.

    Over all values of the arrays given (a plane or RGB). Ours; the border is the protocol's.
    """
    whole = psnr(result, truth)
    inside = psnr(cropped(result, border), cropped(truth, border))
    return 0.0 if whole == inside else whole - inside


def cropped(array: Array, border: tuple[int, int]) -> Array:
    """The array without `border` (rows, columns) at each side."""
    rows, columns = border
    height, width = array.shape[:2]
    if 2 * rows >= height or 2 * columns >= width:
        raise ValueError(f"nothing is left of {width}x{height} pixels within a border of {columns}x{rows}")
    return array[rows : height - rows, columns : width - columns]


def _ssim_map(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """SSIM of every window inside two planes."""
    mean_a, mean_b = _windowed(a), _windowed(b)
    var_a = _windowed(a * a) - mean_a * mean_a
    var_b = _windowed(b * b) - mean_b * mean_b
    cov = _windowed(a * b) - mean_a * mean_b
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    alike = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return alike / ((mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2))


def _windowed(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gaussian-weighted means of all 11x11 windows inside the plane."""
    reach = SSIM_WINDOW // 2
    weights = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * _SSIM_SIGMA**2))
    weights /= weights.sum()
    # The window is a product of two 1-D ones: 22 products a pixel in place of 121.
    down = sum(w * plane[i : plane.shape[0] - 2 * reach + i] for i, w in enumerate(weights))
    return np.asarray(sum(w * down[:, i : down.shape[1] - 2 * reach + i] for i, w in enumerate(weights)))


def _reduced(array: Array, height: int, width: int) -> Array:
    return resample(np.asarray(array, np.float32), (height, width), "bicubic")


def _seen(it: Comparison) -> tuple[Array, Array]:
    """Result and truth in the channel of the protocol."""
    return (luma(it.result), luma(it.truth)) if it.channel == "y" else (it.result, it.truth)


def _psnr(it: Comparison) -> float:
    result, truth = _seen(it)
    return psnr(cropped(result, it.border), cropped(truth, it.border))


def _ssim(it: Comparison) -> float:
    return ssim(cropped(luma(it.result), it.border), cropped(luma(it.truth), it.border))


def _lr_consistency(it: Comparison) -> float:
    return lr_consistency(it.result, it.given)


def _scale_consistency(it: Comparison) -> float:
    height, width = it.result.shape[:2]
    return scale_consistency(it.result, it.ask(2 * width, 2 * height))


def _border_band(it: Comparison) -> float:
    return border_band(*_seen(it), it.border)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="psnr",
            unit="dB",
            better="higher",
            says="PSNR over the protocol's channel, inside its border",
            value=_psnr,
        ),
        Metric(
            name="ssim",
            unit="",
            better="higher",
            says="SSIM on Y, 11x11 Gaussian window, inside the protocol's border",
            value=_ssim,
            window=SSIM_WINDOW,
        ),
        Metric(
            name="lr-consistency",
            unit="dB",
            better="higher",
            says="PSNR over RGB of the result, reduced by bicubic, against the input",
            value=_lr_consistency,
        ),
        Metric(
            name="scale-consistency",
            unit="dB",
            better="higher",
            says="PSNR over RGB of the result at twice the scale, reduced by bicubic, against the result",
            value=_scale_consistency,
        ),
        Metric(
            name="border-band",
            unit="dB",
            better="higher",
            says="PSNR with the border minus PSNR without",
            value=_border_band,
        ),
    )
}
