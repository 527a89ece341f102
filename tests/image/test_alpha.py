"""Colour under transparency, and laying a picture on a ground."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.image.alpha import around, bleed, flatten
from liif_cli.image.picture import Picture
from tests.image.pictures import card, noise, profile


def disc(size: int = 40, *, junk: int = 0, dtype: type = np.uint8) -> Picture:
    """A white soft disc on transparent junk."""
    top = np.iinfo(dtype).max
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    cover = np.clip(size / 4 - np.hypot(x, y) + 0.5, 0, 1)
    alpha = np.rint(cover * top).astype(dtype)
    pixels: npt.NDArray[Any] = np.where(alpha[..., None] > 0, top, junk).astype(dtype).repeat(3, axis=2)
    return Picture(pixels=pixels, alpha=alpha, bits=8 * np.dtype(dtype).itemsize)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_nearest_colour_spreads_and_the_rest_is_the_mean(dtype: type) -> None:
    bled = bleed(disc(dtype=dtype), reach_px=3)
    assert (bled.pixels == np.iinfo(dtype).max).all()


def test_two_colours_meet_halfway() -> None:
    pixels = np.zeros((1, 11, 3), np.uint8)
    alpha = np.zeros((1, 11), np.uint8)
    pixels[0, 0], pixels[0, 10] = (200, 0, 0), (0, 0, 100)
    alpha[0, 0] = alpha[0, 10] = 255
    bled = bleed(Picture(pixels=pixels, alpha=alpha)).pixels[0]
    assert bled[:5].tolist() == [[200, 0, 0]] * 5
    assert bled[6:].tolist() == [[0, 0, 100]] * 5
    assert bled[5].tolist() == [100, 0, 50]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.sampled_from([1, 3]))
def test_what_is_visible_is_not_touched_and_alpha_neither(h: int, w: int, seed: int, channels: int) -> None:
    alpha = noise(h, w, 1, seed=seed)[..., 0]
    alpha[alpha < 128] = 0
    picture = Picture(pixels=noise(h, w, channels), alpha=alpha)
    bled = bleed(picture)
    assert np.array_equal(bled.pixels[alpha > 0], picture.pixels[alpha > 0])
    assert bled.alpha is alpha
    if (alpha > 0).any():  # no new colour is lighter or darker than all visible ones
        seen = picture.pixels[alpha > 0]
        assert (bled.pixels >= seen.min(axis=0)).all()
        assert (bled.pixels <= seen.max(axis=0)).all()


def test_how_far_colour_spreads_is_bounded() -> None:
    pixels = np.zeros((1, 100, 1), np.uint8)
    alpha = np.zeros((1, 100), np.uint8)
    pixels[0, 0], pixels[0, 1], alpha[0, :2] = 200, 100, 255
    bled = bleed(Picture(pixels=pixels, alpha=alpha), reach_px=10).pixels[0, :, 0]
    assert bled[2:12].tolist() == [100] * 10
    assert set(bled[12:].tolist()) == {150}


def test_nothing_to_spread_or_nowhere_to_spread_it_changes_nothing() -> None:
    opaque = card(alpha=True)
    assert bleed(opaque) is opaque
    invisible = Picture(pixels=noise(4, 4, 3), alpha=np.zeros((4, 4), np.uint8))
    assert bleed(invisible) is invisible
    assert bleed(card()).alpha is None


def test_the_arguments_pixels_stay_as_they_are() -> None:
    picture = disc()
    before = picture.pixels.copy()
    bleed(picture)
    assert np.array_equal(picture.pixels, before)


def test_flattening_mixes_by_alpha() -> None:
    alpha = np.array([[0, 51, 255]], np.uint8)
    picture = Picture(pixels=np.full((1, 3, 3), 100, np.uint8), alpha=alpha)
    flat = flatten(picture, (200, 0, 100))
    assert flat.alpha is None
    assert flat.pixels[0].tolist() == [[200, 0, 100], [180, 20, 100], [100, 100, 100]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_flattening_keeps_the_depth(dtype: type) -> None:
    picture = disc(dtype=dtype)
    flat = flatten(picture)
    assert flat.pixels.dtype == dtype
    assert (flat.pixels == np.iinfo(dtype).max).all()


def test_grey_stays_grey_on_grey_and_loses_its_profile_on_colour() -> None:
    grey = Picture(pixels=noise(3, 3, 1), alpha=noise(3, 3, 1)[..., 0], icc=profile("GRAY"))
    on_grey, on_red = flatten(grey, (9, 9, 9)), flatten(grey, (255, 0, 0))
    assert (on_grey.channels, on_grey.icc) == (1, grey.icc)
    assert (on_red.channels, on_red.icc) == (3, None)


def test_alpha_may_leave_the_range_of_its_neighbours_by_that_range() -> None:
    alpha = np.array([[0, 0, 255], [0, 51, 102]], np.uint8)
    rows, columns = np.array([[0, 0], [0, 1]]), np.array([[0, 1], [1, 2]])
    least, most = around(alpha, rows, columns)
    np.testing.assert_allclose(least, np.array([[0.0, -1.0], [-0.2, -1.0]]), atol=1e-6)
    np.testing.assert_allclose(most, np.array([[0.0, 2.0], [0.4, 2.0]]), atol=1e-6)
