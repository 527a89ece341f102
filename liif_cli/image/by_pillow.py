"""Decoding by Pillow: everything libvips does not read, and what has at most 8 bits anyway."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from liif_cli.image.decoded import BANDS, Colour, Damaged, Decoded, Limit, TooLarge, Unsupported, hollow

_NEVER = frozenset(
    {
        "EPS",  # starts Ghostscript
        "WMF",  # a drawing
        "BUFR", "GRIB", "HDF5", "MPEG",  # recognised by Pillow, not read
        "PNG", "JPEG",  # libvips reads them and looks closer
    }
)  # fmt: skip
_ONE_AT_A_TIME = threading.Lock()
# What Pillow logs beside what it raises would stand among our messages.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(
    file: BinaryIO, limit: Limit, *, format: str | None = None, pixels: bool = True, page: int = 0
) -> Decoded:
    """Decode a seekable file, as Pillow's `format` or as whatever it is among the formats allowed.

    Without `pixels` only the header, with `hollow` samples. page: which of a TIFF, from 0.

    Raises Damaged, Unsupported, TooLarge.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    allowed = [format] if format else [name for name in Image.OPEN if name not in _NEVER]
    file.seek(0)
    with _quiet(limit.max_pixels):
        try:
            image = Image.open(file, formats=allowed)
        except UnidentifiedImageError as error:
            raise Unsupported("its content fits no known format") from error
        except Exception as error:  # decoders raise whatever comes to their mind
            raise _cause(error) from error
        with image:
            try:
                if page:
                    image.seek(page)
                limit.check(*image.size)
                if pixels:
                    image.load()
                    limit.check(*image.size)  # some tell their size only now
                return _decoded(image, pixels)
            except (Damaged, TooLarge, MemoryError):
                raise
            except Exception as error:
                raise _cause(error) from error


@contextmanager
def _quiet(max_pixels: int) -> Iterator[None]:
    """Our limit in place of Pillow's, and no warnings.

    Both belong to the whole process, so one picture is decoded at a time.
    """
    from PIL import Image

    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


def _cause(error: Exception) -> Exception:
    from PIL import Image

    text = (str(error) or type(error).__name__).rstrip(".")
    if isinstance(error, Image.DecompressionBombError):
        return TooLarge(0, 0)
    text = text[:1].lower() + text[1:]
    return Unsupported(text) if text.startswith(("unsupported", "unknown")) else Damaged(text)


def _decoded(image: Any, pixels: bool) -> Decoded:
    info = image.info
    notes = []
    frames = _frames(image)
    if frames > 1:
        notes.append(f"animated or of several pages: the first of {frames} was taken")
    colour, alpha, dtype = _nature(image)
    if image.mode == "LAB":
        notes.append("its Lab colours were converted to sRGB")
    bands = BANDS[colour] + alpha
    return Decoded(
        samples=_samples(image, colour, alpha) if pixels else hollow(image.height, image.width, bands, dtype),
        colour=colour,
        alpha=alpha,
        exif=_bytes(info.get("exif")),
        icc=_bytes(info.get("icc_profile")),
        xmp=_bytes(info.get("xmp")),
        dpi=_dpi(info.get("dpi")),
        notes=tuple(notes),
    )


def _nature(image: Any) -> tuple[Colour, bool, Any]:
    """(colour, alpha, type of the samples) by the mode, as `_samples` will give them."""
    mode = image.mode
    if mode == "CMYK":
        return "cmyk", False, np.uint8
    if mode.startswith("I") or mode == "F":
        return "grey", False, {"I": np.int32, "F": np.float32}.get(mode, np.uint16)
    return "grey" if mode in ("1", "L", "LA", "La") else "rgb", bool(image.has_transparency_data), np.uint8


def _samples(image: Any, colour: Colour, alpha: bool) -> npt.NDArray[Any]:
    """Every mode Pillow has, as grey, RGB or CMYK. Indices are never handed on."""
    mode = image.mode
    if mode == "LAB":
        image = _from_lab(image)
    elif mode != "CMYK" and not mode.startswith("I") and mode != "F":
        image = image.convert(("L" if colour == "grey" else "RGB") + ("A" if alpha else ""))
    samples = np.array(image)
    return samples[..., None] if samples.ndim == 2 else samples


def _from_lab(image: Any) -> Any:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")


def _frames(image: Any) -> int:
    if image.format in ("MPO", "ICO", "ICNS", "CUR", "TIFF"):  # one picture, or counted elsewhere
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 1


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _dpi(value: object) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None
