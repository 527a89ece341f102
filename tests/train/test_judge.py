"""What a run is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from liif_cli.train.data import Bytes
from liif_cli.train.judge import SCALES, held_out


@pytest.fixture
def pictures() -> list[tuple[str, Bytes]]:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :340]
    smooth = (
        127
        + 60 * np.sin(x / 9)[..., None]
        + 50 * np.cos(y / 7 + np.arange(3)[:, None, None]).transpose(1, 2, 0)
    )
    return [
        (f"{n}.png", (smooth + rng.normal(0, 1, smooth.shape)).clip(0, 255).astype(np.uint8)) for n in "ab"
    ]


def test_a_run_is_judged_by_the_middle_of_each_picture_at_each_scale(
    pictures: list[tuple[str, Bytes]],
) -> None:
    held = held_out(pictures)
    assert [(p.image, p.scale.x) for p in held.pairs] == [(n, s) for s in SCALES for n in ("a.png", "b.png")]
    assert held.pairs[0].hr.pixels.shape == (256, 256, 3)
    assert np.array_equal(held.pairs[0].hr.pixels, pictures[0][1][22:278, 42:298])


def test_a_run_on_degraded_inputs_is_judged_by_degraded_inputs_always_the_same(
    pictures: list[tuple[str, Bytes]],
) -> None:
    clean, degraded, again = (
        held_out(pictures),
        held_out(pictures, degrade=True),
        held_out(pictures, degrade=True),
    )
    differing = 0
    for a, b, c in zip(clean.pairs, degraded.pairs, again.pairs, strict=True):
        assert np.array_equal(a.hr.pixels, b.hr.pixels)
        assert a.lr.pixels.shape == b.lr.pixels.shape and np.array_equal(b.lr.pixels, c.lr.pixels)
        differing += not np.array_equal(a.lr.pixels, b.lr.pixels)
    assert differing >= len(clean.pairs) // 2
    assert all(degraded.bicubic[scale] < clean.bicubic[scale] for scale in SCALES)
