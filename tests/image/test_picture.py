"""Float and integer samples, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.image.picture import Picture, as_float, quantize, to_bits, to_unit


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_every_integer_survives_the_way_through_float(dtype: type, bits: int) -> None:
    every: npt.NDArray[Any] = np.arange(2**bits).astype(dtype)
    back = quantize(to_unit(every), bits)
    assert back.dtype == dtype
    assert np.array_equal(back, every)


@given(st.integers(0, 254))
def test_a_half_is_rounded_up(level: int) -> None:
    assert quantize(np.array([(level + 0.5) / 255]), 8)[0] == level + 1


def test_values_outside_are_clamped_and_no_nan_gets_through() -> None:
    odd = np.array([-0.1, 1.1, np.nan, np.inf, -np.inf], np.float32)
    assert quantize(odd, 8).tolist() == [0, 255, 0, 255, 0]
    assert quantize(odd, 16).tolist() == [0, 65535, 0, 65535, 0]


def test_quantize_leaves_its_argument_alone() -> None:
    values = np.array([[0.5, 2.0]], np.float32)
    quantize(values, 8)
    assert values.tolist() == [[0.5, 2.0]]


def test_sixteen_bits_become_eight_by_division_not_by_cutting() -> None:
    every = np.arange(65536).astype(np.uint16)
    assert np.array_equal(to_bits(every, 8), np.floor(every / 257 + 0.5).astype(np.uint8))
    assert np.array_equal(to_bits(to_bits(np.arange(256).astype(np.uint8), 16), 8), np.arange(256))


def test_only_8_and_16_bits_exist() -> None:
    with pytest.raises(ValueError, match="not 12"):
        quantize(np.zeros(1), 12)


def test_a_picture_tells_its_size_and_its_colour_as_floats() -> None:
    picture = Picture(pixels=np.full((2, 3, 1), 65535, np.uint16), bits=16)
    assert (picture.height, picture.width, picture.channels) == (2, 3, 1)
    assert as_float(picture).dtype == np.float32
    assert np.array_equal(as_float(picture), np.ones((2, 3, 1)))
