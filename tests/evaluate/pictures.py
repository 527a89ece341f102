"""Pictures, folders and the simplest upscaler for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from liif_cli.engine.target import Target
from liif_cli.image.picture import Picture


def grained(height: int, width: int, channels: int = 3, seed: int = 0) -> Picture:
    """A smooth picture with some noise, so that filters have something to do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (3 + c) + y / 5 + seed) for c in range(channels)]
    pixels = np.stack(waves, axis=2) + rng.normal(0, 8, (height, width, channels))
    return Picture(pixels=np.clip(pixels, 0, 255).astype(np.uint8))


def nearest(picture: Picture, target: Target) -> Picture:
    """The simplest upscaler: the nearest input pixel, as floats."""
    width, height = target.output_size(picture.width, picture.height)
    rows = (np.arange(height) * picture.height) // height
    columns = (np.arange(width) * picture.width) // width
    return Picture(pixels=(picture.pixels[rows][:, columns] / 255).astype(np.float32))


def benchmark_folder(folder: Path, *names: str, scales: tuple[int, ...] = (2,), side: int = 48) -> Path:
    """A data set in EDSR's layout; the pictures differ in size."""
    for number, name in enumerate(names):
        hr = Image.fromarray(grained(side + number, side + 3 * number + 1, seed=number).pixels)
        _save(hr, folder / "HR" / f"{name}.png")
        for s in scales:
            w, h = hr.width // s, hr.height // s
            lr = hr.crop((0, 0, w * s, h * s)).resize((w, h), Image.Resampling.BICUBIC)
            _save(lr, folder / "LR_bicubic" / f"X{s}" / f"{name}x{s}.png")
    return folder


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
