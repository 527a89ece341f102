"""Decoding by libvips: PNG, TIFF, AVIF and JPEG, at full depth and without looking away."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from liif_cli.image.decoded import BANDS, Colour, Damaged, Decoded, Limit, Unsupported, hollow

# "error" where libvips tells broken pixels from odd tags, "warning" where it does not: a JPEG with
# half its data missing is a warning to libjpeg, in a TIFF as well (`jpeg_inside`). Of broken tiles
# of a TIFF it only complains: what it said is looked at in any case.
_LOADERS = {
    "png": ("pngload_source", "warning"),
    "tiff": ("tiffload_source", "error"),
    "avif": ("heifload_source", "error"),
    "jpeg": ("jpegload_source", "warning"),
}
KINDS = frozenset(_LOADERS)
_CONVERTED = frozenset({"lab", "labs", "labq", "lch", "xyz", "yxy"})
_TYPES: dict[str, Any] = {
    "uchar": np.uint8,
    "char": np.int8,
    "ushort": np.uint16,
    "short": np.int16,
    "uint": np.uint32,
    "int": np.int32,
    "float": np.float32,
    "double": np.float64,
}

# What libjpeg warns of although every pixel is there.
_HARMLESS = re.compile(
    r"(\d{1,2}) extraneous bytes before marker|unknown JFIF revision|Unknown Adobe color transform"
    r"|Invalid SOS parameters|bad ICC marker"
)

# Files that are sound, and of a variety that libvips or its libraries have no use for.
_OF_NO_USE = (
    "not configured",
    "bad labq",
    "not a known file format",
    "not supported",
    "nsupported",
    "not a whole number of bytes",
)

# Tags that describe, and say nothing about where and how the pixels lie.
_DESCRIPTIVE = (
    "ResolutionUnit|[XY]Resolution|[XY]Position|DateTime|Software|Artist|Copyright|Make|Model|DocumentName"
    "|ImageDescription|HostComputer|PageName|PageNumber|Orientation|ICC Profile|RichTIFFIPTC|XMLPacket"
    r"|Photoshop|EXIFIFDOffset|GPSIFDOffset|InkNames|NumberOfInks|Min\w+|Max\w+|Tag \d+"
)
_ODD_TAG = re.compile(rf'"({_DESCRIPTIVE})" tag|[Uu]nknown field with tag')


@cache
def library() -> Any:
    """pyvips, set up: no cache (it goes by name and serves rewritten files stale), no SVG."""
    import pyvips

    pyvips.cache_set_max(0)
    pyvips.operation_block_set("VipsForeignLoadSvg", True)
    return pyvips


def decode(
    file: BinaryIO,
    kind: str,
    limit: Limit,
    *,
    pixels: bool = True,
    page: int | None = None,
    jpeg_inside: bool = False,
) -> Decoded:
    """Decode a seekable file of one of `KINDS`; all bands of it, those after the colour as alpha.

    Without `pixels` only the header, with `hollow` samples. page: which of a TIFF, from 0.

    Raises Damaged, Unsupported, TooLarge.
    """
    pyvips = library()
    loader, fail_on = _LOADERS[kind]
    fail_on = "warning" if jpeg_inside else fail_on
    options = {} if page is None else {"page": page}
    try:
        image, samples, notes, said = _load(file, loader, fail_on, limit, pixels, options)
        if kind == "tiff" and said and not _only_tags(said):
            raise _cause(kind, said.splitlines()[0])
    except pyvips.Error as error:
        if not _only_tags(str(error)):
            raise _cause(kind, str(error)) from error
        # an odd tag must not cost the pixels: look away once, and see whether more was wrong
        image, samples, notes, said = _load(file, loader, "none", limit, pixels, options)
        if not _only_tags(said):
            raise _cause(kind, said) from error
    colour = _colour(image.interpretation, image.bands)
    icc = _field(image, "icc-profile-data")
    return Decoded(
        samples=_widened(samples, _field(image, "bits-per-sample")) if kind == "avif" and pixels else samples,
        colour=colour,
        alpha=image.bands > BANDS[colour],
        exif=_field(image, "exif-data"),
        icc=icc,
        xmp=_field(image, "xmp-data"),
        notes=notes,
    )


@contextmanager
def _source(file: BinaryIO) -> Iterator[Any]:
    """A libvips source that reads `file` from its start."""
    pyvips = library()
    file.seek(0)
    try:
        descriptor = file.fileno()
    except OSError:
        yield pyvips.Source.new_from_memory(file.read())
        return
    try:
        yield pyvips.Source.new_from_descriptor(descriptor)
    finally:
        # libvips has moved the position under Python's buffer; only this makes Python look again
        file.seek(0, os.SEEK_END)


def bits_of(file: BinaryIO) -> int:
    """Bits a sample of an AVIF that libvips can open, 0 for others."""
    pyvips = library()
    try:
        with _source(file) as source:
            return int(_field(pyvips.Image.heifload_source(source), "bits-per-sample") or 8)
    except pyvips.Error:
        return 0


def _load(
    file: BinaryIO, loader: str, fail_on: str, limit: Limit, pixels: bool, options: Mapping[str, Any]
) -> tuple[Any, npt.NDArray[Any], tuple[str, ...], str]:
    """The image, its samples, notes on what was converted, and what libvips grumbled about."""
    pyvips = library()
    pyvips.vips_lib.vips_error_clear()  # else what an earlier file left is told of this one
    with _source(file) as source:
        image = getattr(pyvips.Image, loader)(source, fail_on=fail_on, access="sequential", **options)
        limit.check(image.width, image.height)
        notes: tuple[str, ...] = ()
        if image.interpretation in _CONVERTED:
            notes = (f"its {image.interpretation} colours were converted to sRGB",)
            image = image.colourspace("rgb16")
        if image.format not in _TYPES:
            raise Unsupported(f"its samples are {image.format} numbers, which are no colour")
        shape, dtype = (image.height, image.width, image.bands), _TYPES[image.format]
        samples = (
            np.ndarray(shape, dtype, buffer=image.write_to_memory()) if pixels else hollow(*shape, dtype)
        )
    grumbles = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode("utf-8", "replace")
    return image, samples, notes, grumbles


def _only_tags(text: str) -> bool:
    """Whether every complaint is about the value of a TIFF tag that does not touch the pixels."""
    lines = [line for line in text.splitlines() if ": " in line and not line.endswith("load error")]
    return bool(lines) and all(_ODD_TAG.search(line) for line in lines)


def _cause(kind: str, text: str) -> Exception:
    """What a libvips error means."""
    said = [line.strip() for line in text.splitlines()]
    lines = [re.sub(r"^\w+: ", "", line) for line in said if line and not line.startswith("unable to")]
    silent = "its pixel data is damaged" if "write to memory" in text else "its header makes no sense"
    reason = lines[-1].rstrip(".") if lines else silent
    if any(words in text for words in _OF_NO_USE):
        return Unsupported(reason)
    if kind == "tiff" and ("samples out of range" in text or "compression" in text.lower()):
        return Unsupported(reason)
    if kind == "jpeg" and lines and all(_HARMLESS.search(line) for line in lines):
        return Unsupported(reason)
    return Damaged(reason.lower())


def _colour(interpretation: str, bands: int) -> Colour:
    if interpretation == "cmyk" and bands >= 4:
        return "cmyk"
    return "grey" if interpretation in ("b-w", "grey16") or bands < 3 else "rgb"


def _field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


def _widened(samples: npt.NDArray[Any], bits: int | None) -> npt.NDArray[Any]:
    """libvips moves 10 and 12 bits up without filling the low ones, so that white is not white."""
    if samples.dtype != np.uint16 or not bits or not 8 < bits < 16:
        return samples
    top = (1 << bits) - 1
    values = (samples >> np.uint16(16 - bits)).astype(np.uint32)
    return ((values * 65535 + top // 2) // top).astype(np.uint16)
