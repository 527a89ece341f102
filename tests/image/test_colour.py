"""Profiles that fit, profiles that do not, and the conversions there are."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from liif_cli.image.colour import fitting, for_format, rgb_of_cmyk, to_srgb
from liif_cli.image.picture import Picture, to_bits
from tests.image.pictures import card, profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(("icc", "channels"), [(SRGB, 3), (profile(), 3), (profile("GRAY"), 1)])
def test_a_profile_that_fits_is_kept_as_it_is(icc: bytes, channels: int) -> None:
    assert fitting(icc, channels) == (icc, ())


@pytest.mark.parametrize(
    ("icc", "channels", "why"),
    [
        (b"", 3, "broken"),
        (b"garbage" * 50, 3, "broken"),
        (SRGB[:200], 3, "broken"),
        (SRGB[:128] + SRGB[128:][::-1], 3, "broken"),
        (SRGB, 1, "not for grey"),
        (profile("GRAY"), 3, "not for RGB"),
        (SRGB, 4, "not for CMYK"),
    ],
)
def test_a_profile_that_does_not_fit_goes_with_a_note(icc: bytes, channels: int, why: str) -> None:
    kept, notes = fitting(icc, channels)
    assert kept is None
    assert len(notes) == 1
    assert why in notes[0]


def test_no_profile_is_no_news() -> None:
    assert fitting(None, 3) == (None, ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_inks_take_light_away(dtype: type) -> None:
    top = np.iinfo(dtype).max
    inks: npt.NDArray[Any] = np.array(
        [[[0, 0, 0, 0], [top, 0, 0, 0], [0, 0, 0, top], [0, top, top, 0]]], dtype
    )
    rgb, note = rgb_of_cmyk(inks, None, kind="tiff")
    assert rgb.dtype == dtype
    assert (rgb // top).tolist() == [[[1, 1, 1], [0, 1, 1], [0, 0, 0], [1, 0, 0]]]
    assert "CMYK" in note and "negative" not in note
    assert "negative" in rgb_of_cmyk(inks, None, kind="jpeg")[1]


def test_plain_arithmetic_is_pillows() -> None:
    inks = np.random.default_rng(0).integers(0, 256, (20, 20, 4)).astype(np.uint8)
    theirs = np.asarray(Image.frombytes("CMYK", (20, 20), inks.tobytes()).convert("RGB"))
    assert np.abs(rgb_of_cmyk(inks, None, kind="tiff")[0].astype(int) - theirs).max() <= 1


def test_to_srgb_changes_the_numbers_and_keeps_the_look() -> None:
    dark = Picture(pixels=np.full((2, 2, 3), 128, np.uint8), icc=profile(gamma=1.0))
    bright = to_srgb(dark)
    assert bright.icc is None
    assert bright.pixels.dtype == np.uint16  # not rounded twice
    assert bright.bits == 8
    assert abs(bright.pixels.mean() / 65535 - 0.737) < 0.01  # sRGB's code for half the light


def test_to_srgb_agrees_with_littlecms() -> None:
    picture = card()
    theirs = ImageCms.profileToProfile(
        Image.fromarray(picture.pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(profile(gamma=1.8))),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    ours = to_srgb(Picture(pixels=picture.pixels, icc=profile(gamma=1.8))).pixels / 257
    assert theirs is not None
    assert np.abs(ours - np.asarray(theirs)).max() < 2


def test_grey_stays_grey_in_srgb_and_alpha_stays_itself() -> None:
    grey = card(channels=1, alpha=True)
    picture = Picture(pixels=grey.pixels, alpha=grey.alpha, icc=profile("GRAY", gamma=1.0))
    converted = to_srgb(picture)
    assert converted.channels == 1
    assert converted.pixels.mean() > 257 * picture.pixels.mean()
    assert grey.alpha is not None
    assert converted.alpha is not None
    assert np.array_equal(converted.alpha // 257, grey.alpha)


def test_a_picture_without_a_profile_is_srgb_already() -> None:
    picture = card()
    assert to_srgb(picture) is picture


def test_a_grey_profile_is_converted_where_grey_becomes_rgb() -> None:
    grey = replace(card(channels=1), icc=profile("GRAY"))
    for format in ("png", "jpeg", "tiff", "avif"):
        assert for_format(grey, format) == (grey, ())
    made, notes = for_format(grey, "webp")
    assert made.icc is None and "converted to sRGB" in notes[0]
    assert not np.array_equal(to_bits(made.pixels, 8), grey.pixels)
    assert for_format(replace(grey, icc=None), "webp")[1] == ()
    veiled = replace(card(channels=1, alpha=True), icc=profile("GRAY"))
    assert for_format(veiled, "avif")[1] and not for_format(veiled, "png")[1]
