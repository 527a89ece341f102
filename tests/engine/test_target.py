"""Sizes, fits, regions: exact, and rounded in one place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.engine.target import (
    FITS,
    GRAVITIES,
    Box,
    Fit,
    Gravity,
    Region,
    Target,
    half_up,
    parse_colour,
    parse_pixels,
    parse_scale,
    parse_size,
    scaled,
)
from liif_cli.errors import LiifError, UsageError

sides = st.integers(1, 5000)
fits = st.sampled_from(get_args(Fit))
gravities = st.sampled_from(get_args(Gravity))


@pytest.mark.parametrize(
    ("value", "whole"),
    [("0", 0), ("0.49", 0), ("0.5", 1), ("1.5", 2), ("2.5", 3), ("2.4999", 2), ("11.5", 12), ("7", 7)],
)
def test_a_half_goes_up(value: str, whole: int) -> None:
    assert half_up(Fraction(value)) == whole


@given(st.fractions(min_value=0, max_value=10**6))
def test_half_up_is_the_nearest_whole_number(value: Fraction) -> None:
    assert -Fraction(1, 2) < half_up(value) - value <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("size", "scale", "result"),
    [
        (33, "7.5", 248),  # 247.5
        (10, "1.15", 12),  # 11.5 exactly, which binary numbers miss
        (3, "0.1", 1),  # never less than one pixel
        (100, "1.005", 101),
        (64, "150%", 96),
        (1, "0.5", 1),
        (7, "3.", 21),
        (7, ".5", 4),
    ],
)
def test_a_side_is_scaled_as_the_decimal_number_says(size: int, scale: str, result: int) -> None:
    assert scaled(size, parse_scale(scale)[0]) == result
    if "%" not in scale:  # the same from Python, where the factor is a float
        assert Target(scale=(float(scale), 1.0)).output_size(size, 5) == (result, 5)


def test_scales_are_width_x_height() -> None:
    assert parse_scale("2x3.5") == (Fraction(2), Fraction(7, 2))
    assert parse_scale("50%X200%") == (Fraction(1, 2), Fraction(2))
    assert Target(scale=parse_scale("2x3.5")).output_size(10, 20) == (20, 70)


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "inf", "1e3", "", "x", "2x", "x2", "2x3x4", "0%", "2,5", "٣"]
)
def test_what_is_no_factor_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a factor"):
        parse_scale(text)


@pytest.mark.parametrize(
    ("text", "picture", "result"),
    [
        ("1920x1080", (400, 300), (1440, 1080)),
        ("1920\u00d71080", (400, 300), (1440, 1080)),
        ("1920x1080", (300, 400), (810, 1080)),
        ("1920x", (400, 300), (1920, 1440)),
        ("x1080", (400, 300), (1440, 1080)),
        ("1920", (400, 300), (1920, 1440)),
        ("1920", (300, 400), (1440, 1920)),
        ("12MP", (400, 300), (4000, 3000)),
        ("12mp", (300, 400), (3000, 4000)),
        ("0.5MP", (1000, 1000), (707, 707)),
        ("4k", (1000, 1000), (2160, 2160)),
        ("4K", (4000, 1000), (3840, 960)),
        ("8k", (768, 432), (7680, 4320)),
        ("fhd", (16, 9), (1920, 1080)),
        ("100x100", (10_000, 1), (100, 1)),
    ],
)
def test_sizes_in_all_their_forms(text: str, picture: tuple[int, int], result: tuple[int, int]) -> None:
    assert parse_size(text).output_size(*picture) == result


@pytest.mark.parametrize("text", ["0x5", "5x0", "x", "0", "", "0MP", "5p", "-5", "12.5x3", "1e3x4", "9" * 12])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        parse_size("fhf")
    assert caught.value.hint == "did you mean 'fhd'?"


@given(w=sides, h=sides, wide=sides, high=sides)
def test_inside_is_the_largest_that_fits_and_outside_the_smallest_that_covers(
    w: int, h: int, wide: int, high: int
) -> None:
    inside = Target(size=(wide, high), fit="inside").output_size(w, h)
    outside = Target(size=(wide, high), fit="outside").output_size(w, h)
    assert inside[0] <= wide and inside[1] <= high and (inside[0] == wide or inside[1] == high)
    assert outside[0] >= wide and outside[1] >= high and (outside[0] == wide or outside[1] == high)


@given(w=sides, h=sides, wide=sides, high=sides, fit=fits, gravity=gravities)
def test_the_window_lies_in_the_picture_and_the_result(
    w: int, h: int, wide: int, high: int, fit: Fit, gravity: Gravity
) -> None:
    layout = Target(size=(wide, high), fit=fit, gravity=gravity).layout(w, h)
    window = layout.window
    assert window.left >= 0 and window.left + window.width <= layout.out_width
    assert window.top >= 0 and window.top + window.height <= layout.out_height
    assert layout.left >= 0 and layout.left + window.width <= layout.width
    assert layout.top >= 0 and layout.top + window.height <= layout.height
    assert min(window.width, window.height) >= 1
    if fit in ("crop", "pad", "stretch"):
        assert (layout.width, layout.height) == (wide, high)
    if fit != "pad":
        assert not layout.framed
    if fit != "crop":
        assert (window.width, window.height) == (layout.out_width, layout.out_height)


@pytest.mark.parametrize(
    ("gravity", "left", "top"),
    [("center", 50, 0), ("west", 0, 0), ("northeast", 100, 0), ("south", 50, 0)],
)
def test_gravity_is_the_side_that_a_crop_keeps(gravity: Gravity, left: int, top: int) -> None:
    layout = Target(size=(100, 100), fit="crop", gravity=gravity).layout(200, 100)
    assert layout.window == Box(left=left, top=top, width=100, height=100)
    padded = Target(size=(300, 100), fit="pad", gravity=gravity).layout(200, 100)
    assert (padded.left, padded.top) == (left, top)


@given(
    w=st.integers(1, 60),
    h=st.integers(1, 60),
    wide=st.integers(1, 90),
    high=st.integers(1, 90),
    data=st.data(),
)
def test_a_region_is_a_crop_of_the_result(w: int, h: int, wide: int, high: int, data: st.DataObject) -> None:
    fit = data.draw(fits)
    gravity = data.draw(gravities)
    whole = Target(size=(wide, high), fit=fit, gravity=gravity).layout(w, h)
    left, top = data.draw(st.integers(0, whole.width - 1)), data.draw(st.integers(0, whole.height - 1))
    width = data.draw(st.integers(1, whole.width - left))
    height = data.draw(st.integers(1, whole.height - top))
    region = Region.parse(f"{left},{top},{width},{height}")
    part = Target(size=(wide, high), fit=fit, gravity=gravity, region=region).layout(w, h)
    assert (part.width, part.height) == (width, height)
    for x, y in ((0, 0), (width - 1, height - 1), (width // 2, height // 3)):
        # Every pixel of the region shows what the same pixel of the whole shows: picture or background.
        assert _shown(part, x, y) == _shown(whole, left + x, top + y)


def _shown(layout: object, x: int, y: int) -> tuple[int, int] | None:
    from liif_cli.engine.target import Layout

    assert isinstance(layout, Layout)
    x, y = x - layout.left, y - layout.top
    if 0 <= x < layout.window.width and 0 <= y < layout.window.height:
        return layout.window.left + x, layout.window.top + y
    return None


def test_regions_that_touch_in_percent_touch_in_pixels() -> None:
    boxes = [Region.parse(f"pct:{a},0,33.3,100").box(101, 7) for a in ("0", "33.3", "66.6")]
    assert [(box.left, box.left + box.width) for box in boxes] == [(0, 34), (34, 67), (67, 101)]


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,0", "0.5,0,4,4", "a,b,c,d", "1,2,3,4,5", "pct:1,2,3", "-1,0,4,4"]
)
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a window"):
        Region.parse(text)


def test_a_region_outside_the_result_is_an_error_of_that_picture() -> None:
    with pytest.raises(LiifError, match="not inside the result of 20x20") as caught:
        Target(scale=(2, 2), region=Region.parse("10,10,11,5")).layout(10, 10)
    assert caught.value.status == 1


@pytest.mark.parametrize(
    "wrong",
    [{}, {"scale": (2, 2), "longer": 5}, {"size": (None, None)}, {"scale": (0, 1)}, {"pixels": -1},
     {"scale": (float("nan"), 1)}, {"scale": (float("inf"), 1)}, {"longer": 9, "fit": "fill"}],
)  # fmt: skip
def test_a_target_that_says_nothing_or_too_much_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Target(**wrong)  # type: ignore[arg-type]


def test_words_for_fit_and_gravity_are_known() -> None:
    assert "inside" in FITS and "southwest" in GRAVITIES and len(GRAVITIES) == 9


# What a person may type where a number, a size or a place is asked for, and what nobody would.
_WORDS = st.one_of(
    st.text(max_size=12),
    st.text("0123456789.x%,:-+emp kKMGpct#", max_size=16),
    st.from_regex(r"[0-9.]{0,14}[x%,]?[0-9.]{0,14}", fullmatch=True),
)


@given(_WORDS, st.integers(1, 3000), st.integers(1, 3000))
def test_no_text_whatsoever_is_a_bug(text: str, width: int, height: int) -> None:
    def understood(parse: Callable[[], object]) -> Any:
        try:
            return parse()
        except UsageError as error:
            assert text in str(error) and error.hint
            return None

    if scale := understood(lambda: parse_scale(text)):
        assert all(factor > 0 for factor in scale)
        assert min(Target(scale=scale).output_size(width, height)) >= 1
    if size := understood(lambda: parse_size(text)):
        assert min(size.output_size(width, height)) >= 1
    understood(lambda: parse_pixels(text, option="--max-pixels"))
    understood(lambda: parse_colour(text))
    if region := understood(lambda: Region.parse(text)):
        with suppress(LiifError):  # it may lie beside the picture
            layout = Target(scale=(Fraction(2), Fraction(2)), region=region).layout(width, height)
            assert layout.width >= 1 and layout.height >= 1


def test_text_that_is_understood_is_among_those_tried() -> None:
    for text in ("7.5", "150%", "2x3.5"):
        assert parse_scale(text)
    assert parse_size("uhd") == parse_size("4k")
