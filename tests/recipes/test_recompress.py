"""Pairs for judging models of JPEGs: what `liif eval --lr-dir` reads, at whole scales."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from recompress import QUALITIES, SCALES, recompress

from liif_cli.cli.app import main


def test_pairs_are_whole_at_every_scale_and_eval_takes_them(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 500, 3), np.uint8)
    Image.fromarray(pixels).save(pictures / "wide.png")
    Image.fromarray(pixels[:, :40]).save(pictures / "small.png")
    assert recompress(pictures, tmp_path / "out") == 2
    with Image.open(tmp_path / "out/HR/wide.png") as high:
        assert high.size == (480, 48)
        assert np.array_equal(np.array(high), pixels[1:49, 10:490])
    for quality in QUALITIES:
        for scale in SCALES:
            with Image.open(tmp_path / f"out/q{quality}/X{scale}/smallx{scale}.jpg") as low:
                assert low.size == (36 // scale, 48 // scale)
                assert low.format == "JPEG"
    words = ["eval", str(tmp_path / "out/HR"), "--lr-dir", str(tmp_path / "out/q60"), "-m", "compact"]
    assert main([*words, "--scales", "2,4", "-q"]) == 0
