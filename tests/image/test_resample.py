"""Antialiased resampling against Pillow's, and its algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_cli.image.picture import quantize
from liif_cli.image.resample import Kernel, Window, resample, resample_8bit, weights

SIZES = [
    ((40, 50), (97, 13)),
    ((1, 1), (3, 5)),
    ((1, 300), (7, 40)),
    ((33, 20), (33, 20)),
    ((100, 80), (25, 20)),
    ((20, 30), (150, 225)),
    ((5, 7), (1, 1)),
    ((300, 200), (3, 2)),
]
kernels: st.SearchStrategy[Kernel] = st.sampled_from(["bicubic", "lanczos"])
sides = st.integers(1, 90)


def noise(shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.uint8]:
    """The hardest case there is: every pixel an edge, so both passes overshoot."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pillow_float(samples: npt.NDArray[Any], size: tuple[int, int], kernel: Kernel) -> npt.NDArray[Any]:
    how = Image.Resampling[kernel.upper()]
    planes = [Image.fromarray(np.ascontiguousarray(p)) for p in np.moveaxis(samples, 2, 0)]
    return np.stack([np.asarray(p.resize((size[1], size[0]), how)) for p in planes], axis=2)


def photo_like(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Smooth shades, burnt-out lights and hard edges of full contrast."""
    y, x = np.mgrid[:height, :width].astype(float)
    shade = 140 + 90 * np.sin(x / 9 + y / 23) + 60 * np.cos(y / 7 - x / 31)
    shade[(x // 13 + y // 17) % 5 == 0] = 255
    shade[(x - width / 2) ** 2 + (y - height / 2) ** 2 < min(height, width) ** 2 / 25] = 0
    levels: npt.NDArray[np.uint8] = np.clip(shade[..., None] + [0, 9, -20], 0, 255).astype(np.uint8)
    return levels


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_floats_are_resampled_as_pillow_does(
    before: tuple[int, int], after: tuple[int, int], kernel: Kernel
) -> None:
    # far enough from 0 and 1 that nothing is clamped between the passes: Pillow does not clamp floats
    samples = 0.25 + noise((*before, 3)).astype(np.float32) / 512
    assert np.abs(resample(samples, after, kernel) - pillow_float(samples, after, kernel)).max() < 1e-5


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [(0.25, 0.25), (0.5, 0.5), (0.71, 0.71), (1.6, 1.6), (3, 3), (1.5, 0.4)])
def test_a_photograph_is_within_one_level_of_pillow(scale: tuple[float, float], kernel: Kernel) -> None:
    samples = photo_like(150, 211)
    size = round(150 * scale[0]), round(211 * scale[1])
    ours = quantize(resample(samples, size, kernel), 8).astype(int)
    assert np.abs(ours - resample_8bit(samples, size, kernel)).max() <= 1


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow has another order of axes")
@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_shrinking_rows_alone_is_within_one_level_of_pillow(kernel: Kernel) -> None:
    samples = photo_like(211, 150)
    ours = quantize(resample(samples, (90, 190), kernel), 8).astype(int)
    assert np.abs(ours - resample_8bit(samples, (90, 190), kernel)).max() <= 1


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.floats(0.1, 5), kernels, st.sampled_from([1, 3]), st.integers(0, 9))
def test_noise_is_within_two_levels_of_pillow(
    h: int, w: int, scale: float, kernel: Kernel, channels: int, seed: int
) -> None:
    size = max(1, round(h * scale)), max(1, round(w * scale))
    assume(h <= 2 * w)  # Pillow 12 and 13 agree on the order of the axes
    samples = noise((h, w, channels), seed)
    ours = quantize(resample(samples, size, kernel), 8).astype(int)
    assert np.abs(ours - resample_8bit(samples, size, kernel)).max() <= 2


@settings(max_examples=40, deadline=None)
@given(st.data(), sides, sides, st.integers(1, 300), st.integers(1, 300), kernels)
def test_a_window_is_a_crop(
    data: st.DataObject, h: int, w: int, height: int, width: int, kernel: Kernel
) -> None:
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        top=top,
        left=left,
        height=data.draw(st.integers(1, height - top)),
        width=data.draw(st.integers(1, width - left)),
    )
    samples = noise((h, w, 3))
    part = resample(samples, (height, width), kernel, window=window)
    whole = resample(samples, (height, width), kernel)
    crop = whole[top : top + window.height, left : left + window.width]
    assert part.shape == crop.shape
    assert np.abs(part - crop).max() < 2e-6


@settings(max_examples=40, deadline=None)
@given(sides, st.integers(1, 400), kernels)
def test_weights_sum_to_one_and_stay_inside(size_in: int, size_out: int, kernel: Kernel) -> None:
    first, weight = weights(size_in, size_out, kernel)
    assert np.allclose(weight.sum(axis=1), 1.0)
    last = first + np.array([np.flatnonzero(row).max() for row in weight])
    assert first.min() >= 0
    assert last.max() < size_in


@settings(max_examples=30, deadline=None)
@given(sides, sides, sides, sides, kernels, st.integers(0, 255))
def test_a_constant_stays_exactly_what_it_was(
    h: int, w: int, height: int, width: int, kernel: Kernel, level: int
) -> None:
    flat = np.full((h, w), level, np.uint8)
    assert (quantize(resample(flat, (height, width), kernel), 8) == level).all()


def test_the_same_size_is_the_same_picture() -> None:
    samples = noise((17, 23, 3))
    assert np.array_equal(quantize(resample(samples, (17, 23)), 8), samples)


def test_sixteen_bits_keep_their_depth() -> None:
    ramp = np.linspace(0, 250, 64).astype(np.uint16)[None].repeat(8, axis=0)
    out = quantize(resample(ramp, (16, 128)), 16)
    assert out.max() > 240  # in 8 bits this picture is black
    assert len(np.unique(out)) > 100


def test_what_cannot_be_is_refused() -> None:
    samples = noise((4, 4))
    with pytest.raises(ValueError, match="cannot resample"):
        resample(samples, (0, 3))
    with pytest.raises(ValueError, match="leaves the result"):
        resample(samples, (8, 8), window=Window(top=7, left=0, height=2, width=8))
