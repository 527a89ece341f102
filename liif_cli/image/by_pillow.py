"""Decoding by Pillow: everything libvips does not read, and what has at most 8 bits anyway."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from liif_cli.image.decoded import Colour, Damaged, Decoded, Limit, TooLarge, Unsupported

_NEVER = frozenset(
    {
        "EPS",  # starts Ghostscript
        "WMF",  # a drawing
        "BUFR", "GRIB", "HDF5", "MPEG",  # recognised by Pillow, not read
        "PNG", "JPEG",  # libvips reads them and looks closer
    }
)  # fmt: skip
_ONE_AT_A_TIME = threading.Lock()


def decode(file: BinaryIO, limit: Limit, *, format: str | None = None) -> Decoded:
    """Decode a seekable file, as Pillow's `format` or as whatever it is among the formats allowed.

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
                limit.check(*image.size)
                image.load()
                limit.check(*image.size)  # an icon tells its size only now
                return _decoded(image)
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
    return Damaged(text[:1].lower() + text[1:])


def _decoded(image: Any) -> Decoded:
    info = image.info
    notes = []
    frames = _frames(image)
    if frames > 1:
        notes.append(f"animated or of several pages: the first of {frames} was taken")
    samples, colour, alpha, said = _samples(image)
    return Decoded(
        samples=samples,
        colour=colour,
        alpha=alpha,
        exif=_bytes(info.get("exif")),
        icc=_bytes(info.get("icc_profile")),
        xmp=_bytes(info.get("xmp")),
        dpi=_dpi(info.get("dpi")),
        notes=(*notes, *said),
    )


def _samples(image: Any) -> tuple[npt.NDArray[Any], Colour, bool, tuple[str, ...]]:
    """Every mode Pillow has, as grey, RGB or CMYK. Indices are never handed on."""
    mode = image.mode
    if mode == "CMYK":
        return np.array(image), "cmyk", False, ()
    if mode.startswith("I") or mode == "F":
        return np.array(image)[..., None], "grey", False, ()
    if mode == "LAB":
        return np.array(_from_lab(image)), "rgb", False, ("its Lab colours were converted to sRGB",)
    alpha = bool(image.has_transparency_data)
    grey = mode in ("1", "L", "LA", "La")
    plain = image.convert(("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB"))
    samples = np.array(plain)
    return samples[..., None] if samples.ndim == 2 else samples, "grey" if grey else "rgb", alpha, ()


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
