"""A file to a `Picture`: upright, at full depth, by content and never by name, or refused.

PNG, TIFF, JPEG and AVIF of more than 8 bits are decoded by libvips, the rest by Pillow. Broken
metadata never costs the pixels; broken pixels always cost the file, also where a decoder would
fill them in.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from liif_cli.errors import PictureError
from liif_cli.image import by_pillow, by_vips, colour, jpeg, metadata, netpbm, png, sniff, tiff_page
from liif_cli.image.decoded import BANDS, Damaged, Decoded, Limit, NoRange, TooLarge, Unsupported, as_integers
from liif_cli.image.picture import Picture

MAX_PIXELS = 512_000_000
"""Input pixels allowed unless the caller says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its picture before any pixel is read.

    width, height: upright. channels: 1 or 3. bits: 8 or 16. format: what it was recognised as, or None.
    lossless: of WebP, which may be either, whether it was packed without loss.
    """

    width: int
    height: int
    channels: int
    alpha: bool
    bits: int
    format: str | None
    lossless: bool = False


def read(
    source: Path | str | bytes | BinaryIO, *, max_pixels: int | None = None, name: str | None = None
) -> Picture:
    """Read a picture from a path, from its bytes or from an open binary stream.

    max_pixels: how many it may have; None: `MAX_PIXELS`, and fewer if it is hollow (a bomb).
    name: what messages call it; None: its path.

    Raises PictureError, with the name in it, whatever is wrong. Runs in this process: a decoder
    that crashes takes it along (`image/isolate.py` reads in another one).
    """
    with _decoding(source, max_pixels, name, pixels=True) as (decoded, kind, _):
        return _picture(decoded, kind)


def probe(
    source: Path | str | bytes | BinaryIO, *, max_pixels: int | None = None, name: str | None = None
) -> Header:
    """The header of a picture, in a millisecond. Its pixels may still turn out to be broken."""
    with _decoding(source, max_pixels, name, pixels=False) as (decoded, kind, lossless):
        way = decoded.orientation or metadata.orientation(metadata.exif_block(decoded.exif), decoded.xmp)
        height, width = metadata.turned(decoded.samples, way).shape[:2]
        return Header(
            width=width,
            height=height,
            channels=1 if decoded.colour == "grey" else 3,
            alpha=decoded.alpha,
            bits=8 if decoded.samples.dtype.itemsize == 1 else 16,
            format=kind or None,
            lossless=lossless,
        )


@contextmanager
def _decoding(
    source: Path | str | bytes | BinaryIO, max_pixels: int | None, name: str | None, *, pixels: bool
) -> Iterator[tuple[Decoded, str, bool]]:
    """What the decoders make of a source, its kind, and whether it is a WebP without loss. All they raise
    becomes a PictureError."""
    name = name_of(source) if name is None else name
    with _opened(source, name) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        kind = sniff.kind_of(file.read(sniff.HEAD_BYTES))
        lossless = kind == "webp" and sniff.keeps_all(file)
        limit = Limit(
            max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
            file_bytes=size,
            trusted=max_pixels is not None,
        )
        try:
            yield _decode(file, kind, limit, pixels), kind, lossless
        except TooLarge as error:
            said = f"{error.width}x{error.height} pixels" if error.width else "more pixels than are read"
            if max_pixels is not None:
                raise PictureError(
                    f"{name}: too large: {said}, where {max_pixels:,} in all are allowed",
                    hint="allow more with --max-input-pixels",
                ) from error
            raise PictureError(
                f"{name}: too large: {size:,} bytes that claim to be {said}",
                hint="if it is what it says, allow more with --max-input-pixels",
            ) from error
        except Damaged as error:
            what = f"damaged {kind} file" if sniff.is_read(kind) else "damaged or no picture"
            raise PictureError(
                f"{name}: {what}: {error}", hint="restore it from a backup; liif never guesses pixels"
            ) from error
        except NoRange as error:
            raise PictureError(
                f"{name}: its pixels are {error}: which of them is white is not agreed",
                hint="convert it to 8 or 16 bits first",
            ) from error
        except Unsupported as error:
            message, hint = _unsupported(name, kind, str(error))
            raise PictureError(message, hint=hint) from error
        except MemoryError as error:
            raise PictureError(f"{name}: not enough memory to read it") from error


def _decode(file: BinaryIO, kind: str, limit: Limit, pixels: bool) -> Decoded:
    special = {"png": _png, "jpeg": _jpeg, "tiff": _tiff, "avif": _avif, "netpbm": _netpbm}
    if kind in special:
        return special[kind](file, limit, pixels)
    if kind and not sniff.is_read(kind):
        raise Unsupported(kind)
    decoded = by_pillow.decode(file, limit, pixels=pixels)
    file.seek(0)
    bits = sniff.stated_bits(file.read(sniff.HEAD_BYTES), kind)
    if bits > 8 and decoded.samples.dtype.itemsize == 1:
        return replace(decoded, notes=(*decoded.notes, f"{bits} bits a sample were reduced to 8"))
    return decoded


def _png(file: BinaryIO, limit: Limit, pixels: bool) -> Decoded:
    try:
        decoded = by_vips.decode(file, "png", limit, pixels=pixels)
    except Damaged as error:
        raise Damaged(png.damage(file) or str(error)) from error
    said = png.says(file)
    icc = decoded.icc
    if icc is None and b"iCCP" in said:
        icc = b""  # there is one, and libvips would not have it
    return replace(
        decoded, exif=said.get(b"eXIf"), icc=icc, dpi=png.dpi(said.get(b"pHYs", b"")), notes=png.notes(said)
    )


def _jpeg(file: BinaryIO, limit: Limit, pixels: bool) -> Decoded:
    notes: tuple[str, ...] = ()
    try:
        decoded = by_vips.decode(file, "jpeg", limit, pixels=pixels)
    except Unsupported as error:  # something odd, and every pixel there
        decoded = by_pillow.decode(file, limit, format="JPEG", pixels=pixels)
        notes = (f"odd JPEG data: {error}",)
    file.seek(0)
    head = file.read(sniff.HEAD_BYTES)
    icc = b"" if decoded.icc is None and jpeg.has_profile(file) else decoded.icc
    samples = decoded.samples
    if decoded.colour == "cmyk" and pixels and not jpeg.inks_are_inverted(file):
        samples = ~samples  # both decoders take every CMYK JPEG for Adobe's
    return replace(decoded, samples=samples, icc=icc, dpi=jpeg.dpi(head), notes=notes)


def _avif(file: BinaryIO, limit: Limit, pixels: bool) -> Decoded:
    # Pillow knows what is grey and what moves, libvips what has more than 8 bits and what has
    # broken metadata. Where libvips turns it, EXIF has no say about that.
    bits = by_vips.bits_of(file)
    try:
        if bits <= 8:
            return by_pillow.decode(file, limit, format="AVIF", pixels=pixels)
    except Damaged:
        if not bits:
            raise
    return replace(by_vips.decode(file, "avif", limit, pixels=pixels), orientation=1)


def _netpbm(file: BinaryIO, limit: Limit, pixels: bool) -> Decoded:
    file.seek(0)
    if netpbm.is_numbers(file.read(2)):
        return netpbm.decode(file, limit, pixels=pixels)
    return by_pillow.decode(file, limit, format="PPM", pixels=pixels)


def _tiff(file: BinaryIO, limit: Limit, pixels: bool) -> Decoded:
    try:
        page = tiff_page.first_page(file)
    except ValueError as error:
        raise Damaged(str(error)) from error
    if page.raw:
        raise Unsupported("a camera RAW file")
    if page.split:
        raise Unsupported("grey and transparency in planes of their own")
    notes = list(page.notes)
    try:
        if page.plain_ycbcr:  # libvips takes its numbers for RGB
            raise Unsupported("YCbCr that is not JPEG")
        decoded = by_vips.decode(file, "tiff", limit, pixels=pixels, page=page.index, jpeg_inside=page.jpeg)
    except Unsupported:
        if page.plain_ycbcr and page.subsampled:
            raise
        decoded = by_pillow.decode(file, limit, format="TIFF", pixels=pixels, page=page.index)
        if page.bits > 8 and decoded.samples.dtype.itemsize == 1:
            notes.append(f"{page.bits} bits a sample were reduced to 8")
        # Pillow has turned it
        return replace(decoded, orientation=1, exif=page.exif, dpi=page.dpi, notes=(*decoded.notes, *notes))
    colours = BANDS[decoded.colour]
    alpha = decoded.alpha and page.alpha
    if left := decoded.samples.shape[2] - colours - alpha:
        notes.append(f"{left} of its channels are neither colour nor alpha and were left out")
    return replace(
        decoded,
        alpha=alpha,
        orientation=page.orientation,
        exif=page.exif,
        dpi=page.dpi,
        notes=(*decoded.notes, *notes),
    )


def _picture(decoded: Decoded, kind: str) -> Picture:
    """Upright, in the colours and depths a Picture has, with what metadata is sound."""
    notes = list(decoded.notes)
    samples, bits, said = as_integers(decoded.samples)
    notes += said
    exif = metadata.exif_block(decoded.exif)
    if decoded.exif and not exif:
        notes.append("its EXIF block is broken and was left out")
    way = decoded.orientation or metadata.orientation(exif, decoded.xmp)
    samples = metadata.turned(samples, way)
    count = BANDS[decoded.colour]
    pixels, alpha = samples[..., :count], samples[..., count] if decoded.alpha else None
    icc = decoded.icc
    if decoded.colour == "cmyk":
        pixels, note = colour.rgb_of_cmyk(pixels, icc, kind=kind)
        notes.append(note)
        icc = None
    icc, said = colour.fitting(icc, pixels.shape[2])
    notes += said
    return Picture(
        pixels=np.ascontiguousarray(pixels),
        alpha=None if alpha is None else np.ascontiguousarray(alpha),
        bits=bits,
        icc=icc,
        exif=metadata.upright_exif(exif) if exif else None,
        xmp=metadata.upright_xmp(decoded.xmp) if decoded.xmp else None,
        dpi=decoded.dpi,
        format=kind or None,
        notes=tuple(notes),
    )


def _unsupported(name: str, kind: str, reason: str) -> tuple[str, str]:
    """Message and hint for what is no picture, or none of ours."""
    formats = "PNG, JPEG, TIFF, WebP, AVIF, GIF, BMP, JPEG 2000 and others are read"
    if kind in ("empty", "nothing but zeros"):
        return f"{name}: the file is {kind}", "restore it from a backup"
    if kind and not sniff.is_read(kind):
        return f"{name}: not a picture that is read: {kind}", formats
    if kind:
        return f"{name}: {kind} file, but damaged or of a variety that is not read: {reason}", formats
    return f"{name}: not a picture: {reason}", formats


def name_of(source: Path | str | bytes | BinaryIO) -> str:
    """What messages call a source."""
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return {"<stdin>": "stdin"}.get(name, name) if isinstance(name, str) else "picture"


@contextmanager
def _opened(source: Path | str | bytes | BinaryIO, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif not isinstance(source, str | Path):
        yield source if source.seekable() else io.BytesIO(source.read())
    else:
        with _regular_file(Path(source), name) as file:
            yield file


@contextmanager
def _regular_file(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        # without waiting for ever on a named pipe
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PictureError(f"{name}: cannot be opened: {reason.lower()}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PictureError(f"{name}: not a regular file", hint="only files can be read, and - for stdin")
    with os.fdopen(descriptor, "rb") as file:
        try:
            yield file
        except OSError as error:
            raise PictureError(f"{name}: cannot be read: {(error.strerror or str(error)).lower()}") from error
