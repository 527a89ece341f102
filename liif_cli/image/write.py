"""A `Picture` to a file: whole or absent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from liif_cli.image import formats
from liif_cli.image.picture import Picture, to_bits
from liif_cli.image.whole import whole


def write(
    picture: Picture,
    path: Path | str,
    *,
    format: str | None = None,
    quality: int = 95,
    lossless: bool = False,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write `picture`; returns notes on what the file could not hold. Raises PictureError."""
    from PIL import Image

    path = Path(path)
    kind = formats.named(format) if format else formats.of_suffix(path) or formats.named("png")
    formats.check(kind, width=picture.width, height=picture.height, alpha=picture.alpha is not None)
    pixels = to_bits(picture.pixels, 8)
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, to_bits(picture.alpha, 8)[..., None]], axis=2)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    options: dict[str, Any] = {"icc_profile": picture.icc}
    if picture.exif:
        options["exif"] = picture.exif
    if kind.name == "jpeg":
        options |= {"quality": quality, "subsampling": 0}
    elif kind.name in ("webp", "avif"):
        options |= {"quality": quality}
        if kind.name == "webp":
            options |= {"lossless": lossless, "exact": True}
    buffer = io.BytesIO()
    image.save(buffer, kind.name, **options)
    data = buffer.getvalue()
    with whole(path, overwrite=overwrite, needed=lambda: len(data)) as file:
        file.write(data)
    return ()
