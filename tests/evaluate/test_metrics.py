"""Metrics against values worked out by hand and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_cli.evaluate.metrics import (
    METRICS,
    Comparison,
    Floats,
    border_band,
    cropped,
    lr_consistency,
    luma,
    psnr,
    scale_consistency,
    ssim,
)


def flat(height: int, width: int, value: float) -> Floats:
    return np.full((height, width, 3), value, np.float32)


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).random(shape, np.float32)


def comparison(result: Floats, truth: Floats, border: tuple[int, int] = (0, 0)) -> Comparison:
    def ask(width: int, height: int) -> Floats:
        return flat(height, width, float(result.mean()))

    given_ = flat(result.shape[0] // 2, result.shape[1] // 2, float(truth.mean()))
    return Comparison(result=result, truth=truth, given=given_, border=border, channel="y", ask=ask)


def test_a_difference_of_a_tenth_everywhere_is_20_db() -> None:
    assert psnr(flat(3, 5, 0.6), flat(3, 5, 0.5)) == pytest.approx(20, abs=1e-5)


def test_one_value_of_four_wrong_by_all_is_6_02_db() -> None:
    # MSE = 1/4, and 10 log10(4) = 6.0206
    assert psnr(np.array([[0.0, 0.0], [0.0, 1.0]]), np.zeros((2, 2))) == pytest.approx(6.0206, abs=1e-4)


def test_equal_pictures_have_no_finite_psnr() -> None:
    assert psnr(flat(2, 2, 0.3), flat(2, 2, 0.3)) == math.inf


def test_luma_is_that_of_rgb2ycbcr_without_its_offset() -> None:
    # MATLAB's rgb2ycbcr takes white to 235, red to 81, green to 145, blue to 41, all less 16
    primaries = np.array([[[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], np.float32)
    assert np.round(luma(primaries)[0] * 255).tolist() == [219, 65, 129, 25]


def test_a_tenth_of_blue_alone_is_40_18_db_on_luma() -> None:
    # 25.064 / 256 of 0.1 is 0.0097906, and -20 log10 of that is 40.184
    blue = flat(2, 2, 0.5)
    blue[..., 2] += 0.1
    assert psnr(luma(blue), luma(flat(2, 2, 0.5))) == pytest.approx(40.184, abs=1e-3)


def test_ssim_of_two_flat_planes_is_their_luminance_term() -> None:
    # (2 * 0.2 * 0.4 + 0.0001) / (0.2^2 + 0.4^2 + 0.0001) = 0.1601 / 0.2001
    a, b = np.full((11, 13), 0.2), np.full((11, 13), 0.4)
    assert ssim(a, b) == pytest.approx(0.1601 / 0.2001, abs=1e-12)


@given(seed=st.integers(0, 1000), height=st.integers(11, 40), width=st.integers(11, 40))
@settings(max_examples=25)
def test_ssim_is_that_of_scikit_image(seed: int, height: int, width: int) -> None:
    from skimage.metrics import structural_similarity

    a = noise(seed, height, width).astype(np.float64)
    b = np.clip(a + 0.2 * (noise(seed + 1, height, width) - 0.5), 0, 1)
    theirs = structural_similarity(  # type: ignore[no-untyped-call]
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-9)


def test_ssim_is_the_same_however_many_rows_are_taken_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = noise(1, 60, 30), noise(2, 60, 30)
    whole = ssim(a, b)
    for rows in (1, 7, 49, 50):
        monkeypatch.setattr("liif_cli.evaluate.metrics._SSIM_ROWS", rows)
        assert ssim(a, b) == pytest.approx(whole, abs=1e-12)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_psnr_is_that_of_scikit_image(seed: int) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    a, b = (noise(seed + i, 9, 7, 3).astype(np.float64) for i in range(2))
    theirs = peak_signal_noise_ratio(a, b, data_range=1.0)  # type: ignore[no-untyped-call]
    assert psnr(a, b) == pytest.approx(theirs, abs=1e-9)


def test_ssim_refuses_what_is_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11 pixels a side, not 30x10"):
        ssim(np.zeros((10, 30)), np.zeros((10, 30)))


def test_lr_consistency_reduces_the_result_and_leaves_no_border_out() -> None:
    result = noise(1, 24, 36, 3)
    planes = [Image.fromarray(result[..., c]).resize((12, 8), Image.Resampling.BICUBIC) for c in range(3)]
    reduced = np.stack([np.asarray(plane) for plane in planes], axis=2)
    given_ = noise(2, 8, 12, 3)
    assert lr_consistency(result, given_) == pytest.approx(psnr(reduced, given_), abs=1e-4)


def test_lr_consistency_of_a_flat_result_off_by_a_tenth_is_20_db() -> None:
    assert lr_consistency(flat(8, 8, 0.6), flat(4, 4, 0.5)) == pytest.approx(20, abs=1e-4)


def test_scale_consistency_compares_in_the_smaller_size() -> None:
    assert scale_consistency(flat(4, 6, 0.5), flat(8, 12, 0.6)) == pytest.approx(20, abs=1e-4)


def test_the_scale_consistency_of_a_comparison_asks_for_twice_the_size() -> None:
    asked: list[tuple[int, int]] = []

    def ask(width: int, height: int) -> Floats:
        asked.append((width, height))
        return flat(height, width, 0.6)

    it = Comparison(
        result=flat(4, 6, 0.5),
        truth=flat(4, 6, 0.0),
        given=flat(2, 3, 0.0),
        border=(0, 0),
        channel="y",
        ask=ask,
    )
    assert METRICS["scale-consistency"].value(it) == pytest.approx(20, abs=1e-4)
    assert asked == [(12, 8)]


def test_the_border_band_is_psnr_with_the_border_minus_psnr_without() -> None:
    # 16 values: the corner wrong by 0.4, one inner value by 0.2.
    # with: (0.16 + 0.04) / 16 = 0.0125 -> 19.0309 dB; without: 0.04 / 4 = 0.01 -> 20 dB
    result = np.zeros((4, 4))
    result[0, 0], result[1, 1] = 0.4, 0.2
    assert border_band(result, np.zeros((4, 4)), (1, 1)) == pytest.approx(-0.9691, abs=1e-4)


def test_a_picture_without_any_error_has_no_border_band() -> None:
    assert border_band(flat(4, 4, 0.5), flat(4, 4, 0.5), (1, 1)) == 0


def test_a_border_leaves_out_rows_and_columns_at_both_ends() -> None:
    array = np.arange(30).reshape(5, 6).astype(np.float32)
    assert cropped(array, (1, 2)).tolist() == [[8, 9], [14, 15], [20, 21]]


@pytest.mark.parametrize("border", [(2, 0), (0, 3), (9, 9)])
def test_a_border_that_leaves_nothing_is_refused(border: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="nothing is left of 6x4 pixels"):
        cropped(np.zeros((4, 6)), border)


def test_errors_within_the_border_do_not_count() -> None:
    truth = noise(3, 20, 24, 3)
    worse: npt.NDArray[np.float32] = truth.copy()
    worse[:2] = worse[-2:] = 0
    worse[:, :3] = worse[:, -3:] = 0
    assert METRICS["psnr"].value(comparison(worse, truth, (2, 3))) == math.inf
    assert METRICS["ssim"].value(comparison(worse, truth, (2, 3))) == pytest.approx(1)
    assert METRICS["psnr"].value(comparison(worse, truth, (2, 2))) < 40


def test_every_metric_says_what_it_is_and_gives_a_number() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name and metric.says
        assert math.isfinite(metric.value(comparison(noise(5, 20, 20, 3), noise(6, 20, 20, 3), (2, 2))))
