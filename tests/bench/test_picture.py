"""The standard picture is the same for everyone, and like a photo."""

from __future__ import annotations

import numpy as np
import pytest

from liif_cli.bench.picture import picture


def test_the_same_size_and_seed_give_the_same_picture() -> None:
    first, again, other = picture(60, 40), picture(60, 40), picture(60, 40, seed=1)
    assert first.pixels.shape == (40, 60, 3)
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    assert picture(*size).pixels.shape == (size[1], size[0], 3)


def test_its_spectrum_falls_as_that_of_photos() -> None:
    # Amplitudes of photos fall as 1/f (Field 1987: the exponent is between 0.7 and 1.5).
    grey = picture(256, 256).pixels.mean(axis=2)
    amplitude = np.abs(np.fft.rfft2(grey - grey.mean()))
    f = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)) * 256
    radii = np.geomspace(2, 60, 12)
    means = [amplitude[(f >= r) & (f < 1.2 * r)].mean() for r in radii]
    slope = np.polyfit(np.log(radii), np.log(means), 1)[0]
    assert -1.5 < slope < -0.7


def test_it_uses_the_range_and_has_grain_everywhere() -> None:
    pixels = picture(128, 128).pixels.astype(float)
    assert pixels.std() > 35
    assert np.percentile(pixels, 2) < 60 < 190 < np.percentile(pixels, 98)
    assert np.median(np.abs(np.diff(pixels, axis=1))) >= 1
