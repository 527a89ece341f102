"""Coordinates from whole numbers (LIIF.md 2)."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.nn.coords import AxisTaps, Grid, taps, taps_at

sizes = st.integers(1, 60)


def weighted_sets(t: AxisTaps) -> list[dict[tuple[int, float], float]]:
    """Per point: (code, offset) -> weight, equal codes joined and idle ones left out."""
    points = []
    for index, offset, weight in zip(t.index, t.offset, t.weight, strict=True):
        codes: dict[tuple[int, float], float] = defaultdict(float)
        for k, d, w in zip(index, offset, weight, strict=True):
            codes[int(k), round(float(d), 9) + 0.0] += float(w)
        points.append({k: round(w, 9) for k, w in codes.items() if w > 1e-12})
    return points


@given(sizes, st.integers(1, 400))
def test_law_9_mirroring_the_axis_mirrors_the_taps(size_in: int, size_out: int) -> None:
    forward = weighted_sets(taps(size_in, size_out))
    mirrored = [
        {(size_in - 1 - k, -d + 0.0): w for (k, d), w in point.items()} for point in reversed(forward)
    ]
    assert forward == mirrored


@given(sizes)
def test_law_9_at_scale_1_each_pixel_reads_its_own_code(size: int) -> None:
    assert weighted_sets(taps(size, size)) == [{(i, 0.0): 1.0} for i in range(size)]


@given(sizes, st.integers(1, 400))
def test_offset_and_code_give_the_point_and_weights_sum_to_one(size_in: int, size_out: int) -> None:
    t = taps(size_in, size_out)
    for i in range(size_out):
        u = Fraction(2 * i + 1, 2 * size_out) * size_in - Fraction(1, 2)
        np.testing.assert_allclose(t.index[i] + t.offset[i], float(u), atol=1e-12)
    np.testing.assert_allclose(t.weight.sum(1), 1, atol=1e-15)
    assert t.weight.min() >= 0
    assert t.index.min() >= 0 and t.index.max() < size_in


@given(sizes, st.integers(1, 400), st.data())
def test_a_window_of_the_taps_is_a_slice_of_them(size_in: int, size_out: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size_out))
    stop = data.draw(st.integers(start, size_out))
    whole, part = taps(size_in, size_out), taps(size_in, size_out, start, stop)
    for name in ("index", "offset", "weight"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start:stop])


@given(sizes, st.integers(1, 400))
def test_taps_of_the_same_points_given_as_numbers_are_the_same(size_in: int, size_out: int) -> None:
    i = np.arange(size_out)
    by_number = taps_at((i + 0.5) * size_in / size_out - 0.5, size_in)
    by_grid = taps(size_in, size_out)
    # The float may fall on the other side of a whole number: then one weight is 0, and the blend is
    # the same. So compare what they blend, for any codes.
    codes = np.random.default_rng(0).random(size_in)
    for by in (by_number, by_grid):
        assert by.index.shape == (size_out, 2)
    number, grid = ((codes[t.index] * t.weight).sum(1) for t in (by_number, by_grid))
    np.testing.assert_allclose(number, grid, atol=1e-9)


def test_points_outside_the_picture_are_clamped_to_its_border() -> None:
    outside, border = taps_at(np.array([-7.0, 99.0]), 5), taps_at(np.array([-0.5, 4.5]), 5)
    np.testing.assert_array_equal(outside.index, border.index)
    np.testing.assert_array_equal(outside.offset, border.offset)


def test_nothing_drifts_at_the_far_end_of_a_very_large_output() -> None:
    h, H = 65_535, 2_000_000_011
    last = taps(h, H, H - 1, H)
    u = Fraction(2 * (H - 1) + 1, 2 * H) * h - Fraction(1, 2)
    assert last.index.tolist() == [[h - 1, h - 1]]
    assert last.offset[0, 0] == pytest.approx(float(u - (h - 1)), abs=1e-12)


def test_the_nearest_code_is_the_one_half_a_pixel_away_at_most() -> None:
    near = taps(7, 40).nearest()
    assert near.index.shape == near.weight.shape == (40, 1)
    assert np.abs(near.offset).max() <= 0.5
    assert (near.weight == 1).all()


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, 0, 5, 2), (0, 3, 2, 2), (0, 0, 0, 2)])
def test_a_window_that_leaves_the_output_is_refused(window: tuple[int, int, int, int]) -> None:
    top, left, height, width = window
    with pytest.raises(ValueError):
        Grid(
            in_height=2, in_width=2, out_height=4, out_width=4, top=top, left=left, height=height, width=width
        )
