"""A file to a `Picture`: upright, by content and never by name, or refused."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np

from liif_cli.errors import PictureError
from liif_cli.image.picture import Picture

MAX_PIXELS = 512_000_000


def read(source: Path | str | BinaryIO | bytes, *, max_pixels: int | None = None) -> Picture:
    """Read a picture from a file, an open binary stream or its bytes. Raises PictureError."""
    name, data = _bytes_of(source)
    from PIL import Image, ImageOps

    limit = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
            if image.width * image.height > limit:
                raise PictureError(f"{name}: {image.width}x{image.height} pixels are more than {limit:,}")
            image.load()
            if image.mode.startswith("I") or image.mode in ("CMYK", "F"):
                raise PictureError(f"{name}: {image.mode} pictures are not handled yet")
            icc = image.info.get("icc_profile")
            upright = ImageOps.exif_transpose(image)
            kind = (image.format or "").lower()
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"{name}: not a picture that can be read ({error})") from error
    exif = upright.getexif().tobytes().removeprefix(b"Exif\0\0") if len(upright.getexif()) else None
    alpha = upright.has_transparency_data
    grey = upright.mode in ("1", "L", "LA", "La")
    array = np.asarray(upright.convert(("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")))
    array = array[..., None] if array.ndim == 2 else array
    return Picture(
        pixels=array[..., :-1] if alpha else array,
        alpha=array[..., -1] if alpha else None,
        icc=icc,
        exif=exif,
        format="jpeg" if kind == "mpo" else kind,
    )


def _bytes_of(source: Path | str | BinaryIO | bytes) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return "picture", source
    if not isinstance(source, str | Path):
        return "stdin", source.read()
    path = Path(source)
    try:
        # not to wait for ever on a named pipe
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PictureError(f"{path}: not a regular file")
            return str(path), file.read()
    except OSError as error:
        raise PictureError(f"{path}: {(error.strerror or str(error)).lower()}") from error
