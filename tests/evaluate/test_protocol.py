"""Protocols: what is given, what is cropped, which channel counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_cli.engine.target import Target
from liif_cli.errors import UsageError
from liif_cli.evaluate.baselines import bicubic, lanczos, x4_lanczos
from liif_cli.evaluate.protocol import (
    BENCHMARK,
    DIV2K,
    FILE,
    PROTOCOLS,
    RGB,
    Pair,
    Protocol,
    Scale,
    Score,
    compare,
    means,
    pair,
    score,
)
from liif_cli.image.picture import Picture
from tests.evaluate.pictures import grained, nearest

Upscale = Callable[[Picture, Target], Picture]
scales = st.floats(1, 9, allow_nan=False).map(lambda s: round(s, 2))


def slow_psnr(
    result: npt.NDArray[Any], truth: npt.NDArray[Any], rows: int, columns: int, on_luma: bool
) -> float:
    """PSNR as LIIF.md 6 words it, pixel by pixel, without any of the package's code."""
    height, width = truth.shape[:2]
    squares = []
    for y in range(rows, height - rows):
        for x in range(columns, width - columns):
            difference = [float(result[y, x, c]) - int(truth[y, x, c]) / 255 for c in range(3)]
            if on_luma:
                red, green, blue = difference
                squares.append(((red * 65.738 + green * 129.057 + blue * 25.064) / 256) ** 2)
            else:
                squares += [d * d for d in difference]
    return -10 * math.log10(sum(squares) / len(squares))


@pytest.mark.parametrize("scale", [(2, 2), (2.5, 2.5), (7.5, 7.5), (2, 3.5), (3.3, 1.7)], ids=str)
@pytest.mark.parametrize("protocol", [BENCHMARK, RGB], ids=lambda p: p.name)
def test_scores_at_any_scale_equal_the_slow_check(protocol: Protocol, scale: tuple[float, float]) -> None:
    hr, (sx, sy) = grained(47, 61), scale
    h, w = int(47 / sy), int(61 / sx)
    truth = hr.pixels[: round(h * sy), : round(w * sx)]
    lr = Image.fromarray(np.ascontiguousarray(truth)).resize((w, h), Image.Resampling.BICUBIC)
    given_ = Picture(pixels=np.asarray(lr, np.uint8))
    result = nearest(given_, Target(size=(truth.shape[1], truth.shape[0]))).pixels
    expected = slow_psnr(result, truth, math.ceil(sy), math.ceil(sx), on_luma=protocol is BENCHMARK)
    found = list(score(nearest, [pair("a", hr, Scale(x=sx, y=sy))], protocol))
    assert [one.value for one in found] == [pytest.approx(expected, abs=1e-4)]


def test_div2k_leaves_out_six_pixels_more_than_the_scale_and_takes_all_channels() -> None:
    hr = grained(60, 70)
    one = pair("a", hr, Scale(x=3, y=3))
    result = nearest(one.lr, Target(size=(69, 60))).pixels
    (found,) = score(nearest, [one], DIV2K)
    assert found.value == pytest.approx(slow_psnr(result, one.hr.pixels, 9, 9, on_luma=False), abs=1e-4)


def test_a_border_of_ones_own_replaces_the_protocols() -> None:
    one = pair("a", grained(40, 40), Scale(x=2, y=2))
    result = nearest(one.lr, Target(size=(40, 40))).pixels
    (found,) = score(nearest, [one], BENCHMARK, border=(5, 7))
    assert found.value == pytest.approx(slow_psnr(result, one.hr.pixels, 5, 7, on_luma=True), abs=1e-4)


def test_the_protocols_are_those_of_the_specification() -> None:
    two, odd = Scale(x=2, y=2), Scale(x=2.5, y=4)
    assert {name: (p.channel, p.border(two), p.border(odd), p.saved) for name, p in PROTOCOLS.items()} == {
        "benchmark": ("y", (2, 2), (4, 3), False),
        "div2k": ("rgb", (8, 8), (10, 9), False),
        "rgb": ("rgb", (2, 2), (4, 3), False),
        "file": ("y", (2, 2), (4, 3), True),
    }


def test_a_float_result_is_clamped_but_not_rounded() -> None:
    hr = Picture(pixels=np.full((16, 16, 3), 255, np.uint8))

    def slightly_dark(picture: Picture, target: Target) -> Picture:
        values = np.full((16, 16, 3), 0.999, np.float32)
        values[8:] = 1.5  # clamped to 1: no error there
        return Picture(pixels=values)

    (found,) = score(slightly_dark, [pair("a", hr, Scale(x=2, y=2))], RGB)
    assert found.value == pytest.approx(60 + 10 * math.log10(2), abs=1e-3)
    # as a file has it, 0.999 of white is white
    (saved,) = score(slightly_dark, [pair("a", hr, Scale(x=2, y=2))], FILE)
    assert saved.value == math.inf


def test_a_grey_picture_is_repeated_to_three_channels_but_for_what_a_user_gets() -> None:
    seen: list[int] = []

    def watching(picture: Picture, target: Target) -> Picture:
        seen.append(picture.channels)
        return nearest(picture, target)

    grey = grained(30, 30, channels=1)
    (three,) = score(watching, [pair("a", grey, Scale(x=2, y=2))], BENCHMARK)
    (one,) = score(watching, [pair("a", grey, Scale(x=2, y=2))], FILE)
    assert seen == [3, 1]
    rgb = Picture(pixels=np.repeat(np.asarray(grey.pixels, np.uint8), 3, axis=2))
    (repeated,) = score(nearest, [pair("a", rgb, Scale(x=2, y=2))], BENCHMARK)
    assert three.value == repeated.value == pytest.approx(one.value, abs=0.01)


@given(height=st.integers(1, 200), width=st.integers(1, 200), x=scales, y=scales)
@settings(max_examples=200)
def test_what_is_judged_lies_inside_the_picture_and_is_as_the_published_code_cuts_it(
    height: int, width: int, x: float, y: float
) -> None:
    scale = Scale(x=x, y=y)
    w, h = scale.lr_size(width, height)
    assert (w, h) == (math.floor(width / x + 1e-9), math.floor(height / y + 1e-9))
    wide, high = scale.hr_size(w, h)
    assert wide <= width and high <= height
    assert wide > width - x - 1 and high > height - y - 1


def test_lr_is_made_by_pillows_bicubic_from_the_cropped_picture() -> None:
    hr = grained(50, 65)
    one = pair("a", hr, Scale(x=6, y=6))
    by_hand = Image.fromarray(hr.pixels).crop((0, 0, 60, 48)).resize((10, 8), Image.Resampling.BICUBIC)
    assert one.source == "bicubic"
    assert np.array_equal(one.lr.pixels, np.asarray(by_hand))
    assert np.array_equal(one.hr.pixels, hr.pixels[:48, :60])


def test_a_half_is_cut_to_the_even_size_as_the_published_code_does() -> None:
    # 5 LR pixels at x2.5 are 12.5 HR pixels
    assert Scale(x=2.5, y=2.5).hr_size(5, 7) == (12, 18)


def test_a_scale_that_divides_the_picture_does_so_in_spite_of_floats() -> None:
    assert 135 / 1.08 < 125  # though 125 * 1.08 is 135
    assert Scale(x=1.08, y=1.08).lr_size(135, 270) == (125, 250)


def test_lr_from_a_file_is_taken_as_it_is_and_hr_cropped_to_it() -> None:
    hr, lr = grained(50, 65), grained(25, 32, seed=3)
    one = pair("a", hr, Scale(x=2, y=2), lr)
    assert one.source == "files" and one.lr is lr
    assert (one.hr.width, one.hr.height) == (64, 50)


def test_pictures_that_do_not_fit_are_refused_by_name() -> None:
    two = Scale(x=2, y=2)
    with pytest.raises(
        ValueError, match=r"^a: 31x25 pixels, but its HR picture \(65x50\) at x2 asks for 32x25"
    ):
        pair("a", grained(50, 65), two, grained(25, 31))
    with pytest.raises(ValueError, match=r"^b: 3x9 pixels are less than one input pixel at x4"):
        pair("b", grained(9, 3), Scale(x=4, y=4))
    with pytest.raises(ValueError, match=r"^c: transparency"):
        pair("c", Picture(pixels=grained(8, 8).pixels, alpha=np.zeros((8, 8), np.uint8)), two)


def test_a_result_that_is_not_all_numbers_is_refused_by_name() -> None:
    def broken(picture: Picture, target: Target) -> Picture:
        result = nearest(picture, target)
        result.pixels[3, 3] = np.nan
        return result

    with pytest.raises(FloatingPointError, match="the result for a at x2 is not all numbers"):
        list(score(broken, [pair("a", grained(16, 16), Scale(x=2, y=2))], BENCHMARK))


def test_a_result_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="asked for 16x16 pixels, got 8x8"):
        list(score(lambda p, _: p, [pair("a", grained(16, 16), Scale(x=2, y=2))], BENCHMARK))


def test_scoring_is_lazy_and_holds_one_pair_at_a_time() -> None:
    made: list[int] = []

    def pairs() -> Any:
        for number in range(3):
            made.append(number)
            yield pair(str(number), grained(16, 16), Scale(x=2, y=2))

    scores = score(nearest, pairs(), BENCHMARK)
    next(scores)
    assert made == [0]


def test_the_mean_is_that_of_the_pictures_values() -> None:
    two, three = Scale(x=2, y=2), Scale(x=3, y=3)
    values = [("a", two, 30.0), ("b", two, 33.0), ("a", three, 20.0)]
    scores = [Score(image=i, scale=s, metric="psnr", value=v) for i, s, v in values]
    assert means(scores) == {(two, "psnr"): 31.5, (three, "psnr"): 20.0}


@given(x=scales, y=scales)
def test_a_scale_is_read_back_from_its_text(x: float, y: float) -> None:
    assert Scale.parse(str(Scale(x=x, y=y))) == Scale(x=x, y=y)


def test_scales_are_written_as_people_write_them() -> None:
    assert [str(Scale.parse(text)) for text in ("2", "2.50", "250%", "2x3.5")] == ["2", "2.5", "2.5", "2x3.5"]


@pytest.mark.parametrize("text", ["0.5", "2x0.9", "", "x", "two", "-2", "2x3x4", "nan", "inf"])
def test_a_scale_that_cannot_be_measured_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Scale.parse(text)


@pytest.mark.parametrize(("upscale", "kernel"), [(bicubic, "BICUBIC"), (lanczos, "LANCZOS")])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_filters_are_pillows_own_in_8_bits(upscale: Upscale, kernel: str, channels: int) -> None:
    picture = grained(12, 17, channels)
    result = upscale(picture, Target(size=(40, 33))).pixels
    flat = Image.fromarray(picture.pixels[..., 0] if channels == 1 else picture.pixels)
    theirs = np.asarray(flat.resize((40, 33), Image.Resampling[kernel]))
    assert result.dtype == np.uint8
    assert np.array_equal(result, theirs.reshape(result.shape))


def test_the_shortcut_asks_for_x4_and_resamples_that_in_floats() -> None:
    asked: list[tuple[int, int]] = []

    def watching(picture: Picture, target: Target) -> Picture:
        asked.append(target.output_size(picture.width, picture.height))
        return nearest(picture, target)

    lr = grained(10, 12)
    result = x4_lanczos(watching)(lr, Target(size=(30, 25))).pixels
    large = nearest(lr, Target(size=(48, 40))).pixels
    planes = [
        Image.fromarray(np.ascontiguousarray(large[..., c])).resize((30, 25), Image.Resampling.LANCZOS)
        for c in range(3)
    ]
    assert asked == [(48, 40)]
    assert np.allclose(result, np.clip(np.stack([np.asarray(p) for p in planes], 2), 0, 1), atol=1e-4)


def test_at_x4_the_shortcut_is_the_model_itself() -> None:
    lr = grained(10, 12)
    target = Target(size=(48, 40))
    assert np.array_equal(x4_lanczos(nearest)(lr, target).pixels, nearest(lr, target).pixels)


def test_a_comparison_holds_what_the_upscaler_was_given() -> None:
    one: Pair = pair("a", grained(20, 20), Scale(x=2, y=2))
    it = compare(nearest, one, BENCHMARK)
    assert np.allclose(it.given, one.lr.pixels / 255)
    assert it.ask(7, 5).shape == (5, 7, 3)
