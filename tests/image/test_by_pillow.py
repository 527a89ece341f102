"""Every mode Pillow has, whatever file it may come from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from liif_cli.image import by_pillow
from liif_cli.image.decoded import BANDS, as_integers
from tests.image.pictures import card, samples

GREY = Image.fromarray(card(channels=1).pixels[..., 0])
GREY_ALPHA = Image.fromarray(samples(card(channels=1, alpha=True)))
RGB = Image.fromarray(card().pixels)
RGBA = Image.fromarray(samples(card(alpha=True)))
INDEXED = RGB.quantize(64)
LAB = ImageCms.profileToProfile(
    RGB, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
)
DEEP = Image.fromarray(card(channels=1, bits=16).pixels[..., 0])


def with_key(image: Image.Image) -> Image.Image:
    keyed = image.copy()
    keyed.info["transparency"] = 3
    return keyed


@pytest.mark.parametrize(
    ("image", "colour", "alpha", "bits"),
    [
        (GREY.convert("1"), "grey", False, 8),
        (GREY, "grey", False, 8),
        (GREY_ALPHA, "grey", True, 8),
        (GREY_ALPHA.convert("La"), "grey", True, 8),
        (INDEXED, "rgb", False, 8),
        (with_key(INDEXED), "rgb", True, 8),
        (INDEXED.convert("PA"), "rgb", True, 8),
        (RGB, "rgb", False, 8),
        (RGBA, "rgb", True, 8),
        (RGBA.convert("RGBa"), "rgb", True, 8),
        (RGB.convert("RGBX"), "rgb", False, 8),
        (RGB.convert("CMYK"), "cmyk", False, 8),
        (RGB.convert("YCbCr"), "rgb", False, 8),
        (RGB.convert("HSV"), "rgb", False, 8),
        (LAB, "rgb", False, 8),
        (DEEP, "grey", False, 16),
        (DEEP.convert("I"), "grey", False, 16),
        (Image.fromarray((card(channels=1).pixels[..., 0] / 255).astype(np.float32)), "grey", False, 16),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_every_mode_becomes_grey_rgb_or_ink(image: Image.Image, colour: str, alpha: bool, bits: int) -> None:
    decoded = by_pillow._decoded(image, True)
    header = by_pillow._decoded(image, False)
    assert (decoded.colour, decoded.alpha) == (header.colour, header.alpha) == (colour, alpha)
    assert decoded.samples.shape == header.samples.shape == (24, 31, BANDS[decoded.colour] + alpha)
    assert decoded.samples.dtype.newbyteorder("=") == header.samples.dtype
    numbers, found, _ = as_integers(decoded.samples)
    assert found == bits
    looks = RGB if colour == "rgb" else GREY
    if colour != "cmyk" and image.mode != "1":
        pixels = numbers[..., : BANDS[decoded.colour]] / (257 if bits == 16 else 1)
        assert np.abs(pixels.squeeze() - np.asarray(looks)).mean() < 8


def test_a_big_endian_sixteen_bit_mode_keeps_its_values() -> None:
    values = card(channels=1, bits=16).pixels[..., 0]
    image = Image.frombytes("I;16B", (31, 24), values.astype(">u2").tobytes())
    numbers, bits, notes = as_integers(by_pillow._decoded(image, True).samples)
    assert (bits, notes) == (16, ())
    assert np.array_equal(numbers[..., 0], values)
