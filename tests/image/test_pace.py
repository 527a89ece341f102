"""How long writing takes, found out with a small picture."""

from __future__ import annotations

import numpy as np
import pytest

from liif_cli.image import pace
from liif_cli.image.bands import Encoding


@pytest.mark.parametrize(
    ("format", "bits", "alpha"),
    [
        ("png", 8, False),
        ("png", 16, True),
        ("jpeg", 8, False),
        ("tiff", 16, False),
        ("webp", 8, True),
        ("avif", 8, False),
    ],
)
def test_every_format_has_a_pace(format: str, bits: int, alpha: bool) -> None:
    found = pace.seconds_per_pixel(Encoding(format=format), channels=3, alpha=alpha, bits=bits)
    assert 1e-10 < found < 1e-4


def test_it_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> float:
        return pace.seconds_per_pixel(Encoding(format="png"), channels=1, alpha=False, bits=8)

    once = ask()
    monkeypatch.setattr(pace, "write_bands", None)
    assert ask() == once


def test_the_picture_is_one_as_photos_are() -> None:
    made = pace._landscape(4)
    assert made.shape == (128, 128, 4) and made.dtype == np.float32
    assert 0 <= made.min() < 0.2 and 0.8 < made.max() <= 1
    assert np.abs(np.diff(made, axis=0)).mean() < 0.08  # neighbours are alike
    assert np.corrcoef(made[..., 0].ravel(), made[..., 1].ravel())[0, 1] > 0.5  # and so are channels
