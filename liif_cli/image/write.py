"""A `Picture` to a file: whole or absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from liif_cli.image import formats
from liif_cli.image.bands import Canvas, Encoding, Tags, write_bands
from liif_cli.image.colour import for_format, to_srgb
from liif_cli.image.picture import Picture, to_bits

_BAND_BYTES = 4 << 20


def write(
    picture: Picture,
    target: Path | str | BinaryIO,
    *,
    format: str | None = None,
    bits: int | None = None,
    quality: int | None = None,
    lossless: bool = False,
    pyramid: bool = False,
    icc: Literal["keep", "srgb", "strip"] = "keep",
    metadata: Literal["keep", "strip"] = "keep",
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write `picture` to a path or a binary stream; returns notes on what the format could not hold.

    format:   one of `formats.FORMATS`; None: by the suffix of the path, else the picture's own, else PNG.
    bits:     8 or 16; None: the picture's.
    quality:  0 to 100 for JPEG, WebP and AVIF; None: the format's default.
    icc:      `keep` the profile, convert the colours to `srgb`, or `strip` it unconverted.
    metadata: `keep` EXIF, XMP and density, or `strip` them.

    Raises PictureError if the format cannot hold the picture, if the file exists and not
    `overwrite`, and if the disk is full.
    """
    encoding = Encoding(
        format=_format(picture, target, format), quality=quality, lossless=lossless, pyramid=pyramid
    )
    notes: tuple[str, ...] = ()
    if icc == "srgb":
        picture = to_srgb(picture)
    elif icc == "keep":
        picture, notes = for_format(picture, encoding.format)
    canvas = Canvas(
        width=picture.width,
        height=picture.height,
        channels=picture.channels,
        alpha=picture.alpha is not None,
        bits=picture.bits if bits is None else bits,
    )
    tags = Tags.of(picture, icc=icc != "strip", metadata=metadata == "keep")
    bands = _bands(picture, canvas)
    return notes + write_bands(target, bands, canvas, encoding, tags, overwrite=overwrite)


def _format(picture: Picture, target: Path | str | BinaryIO, asked: str | None) -> str:
    if asked is not None:
        return formats.named(asked).name
    if isinstance(target, str | Path) and (of_name := formats.of_suffix(Path(target))):
        return of_name.name
    return picture.format if picture.format in formats.FORMATS else "png"


def _bands(picture: Picture, canvas: Canvas) -> Iterator[npt.NDArray[Any]]:
    height = max(1, _BAND_BYTES // (canvas.width * canvas.samples * 4))
    for top in range(0, canvas.height, height):
        rows = to_bits(picture.pixels[top : top + height], canvas.bits)
        if picture.alpha is not None:
            alpha = to_bits(picture.alpha[top : top + height], canvas.bits)
            rows = np.concatenate([rows, alpha[..., None]], axis=2)
        yield rows
