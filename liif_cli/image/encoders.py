"""The encoders behind `open_bands`: rows in, one after the other, bytes of a file out.

PNG is written here. JPEG and TIFF are written by libvips, which reads the rows as an unpacked PNG
from a pipe: it has a reader for that and none for bare rows. The encoders of WebP and AVIF want the
whole picture, so it is collected first (`formats.check` tells beforehand whether that fits).
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from liif_cli import machine
from liif_cli.errors import PictureError
from liif_cli.image import formats, jpeg, png, tiff_page
from liif_cli.image.by_vips import library
from liif_cli.image.picture import Picture

_BIGTIFF_BYTES = 3_900_000_000  # unpacked; a classic TIFF ends at 4 GiB
_PIPE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The picture to come: `channels` 1 or 3, then alpha if `alpha`; samples of 8 or 16 `bits`."""

    width: int
    height: int
    channels: int
    alpha: bool = False
    bits: int = 8

    @property
    def samples(self) -> int:
        return self.channels + self.alpha


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a file is written.

    format:   a name of `formats.FORMATS`.
    quality:  0 to 100 for the lossy ones; None: their default.
    lossless: for WebP; the others are or are not.
    pyramid:  a TIFF in tiles with smaller copies, for viewers of very large pictures.
    """

    format: str
    quality: int | None = None
    lossless: bool = False
    pyramid: bool = False


@dataclass(frozen=True, kw_only=True)
class Tags:
    """What a file says beside its pixels, as in `Picture`."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None

    @classmethod
    def of(cls, picture: Picture, *, icc: bool = True, metadata: bool = True) -> Tags:
        """Those of `picture`: its profile unless not `icc`, the rest unless not `metadata`."""
        profile = picture.icc if icc else None
        if not metadata:
            return cls(icc=profile)
        return cls(icc=profile, exif=picture.exif, xmp=picture.xmp, dpi=picture.dpi)


def encoder_of(file: BinaryIO, canvas: Canvas, encoding: Encoding, tags: Tags) -> Encoder:
    """The encoder that writes such a picture into `file`, which is empty and can be read back."""
    return _ENCODERS[encoding.format](file, canvas, encoding, tags)


class Encoder(Protocol):
    """One file being written. `size` is what it will have, 0 while that is not known.

    `end` comes when all rows have; `close` comes always, last, and never blocks or fails.
    """

    size: int

    def rows(self, array: npt.NDArray[Any]) -> None: ...
    def end(self) -> None: ...
    def close(self) -> None: ...


class _Png:
    size = 0

    def __init__(self, file: BinaryIO, canvas: Canvas, encoding: Encoding, tags: Tags) -> None:
        self._writer = _png_writer(file.write, canvas, tags, level=4)

    def rows(self, array: npt.NDArray[Any]) -> None:
        self._writer.rows(array)

    def end(self) -> None:
        self._writer.end()

    def close(self) -> None:
        pass


class _Piped:
    """libvips at the other end of a pipe, in a thread of its own."""

    size = 0

    def __init__(self, file: BinaryIO, canvas: Canvas, encoding: Encoding, tags: Tags) -> None:
        self._file, self._canvas, self._encoding, self._tags = file, canvas, encoding, tags
        self._vips = library()  # here, where a libvips that cannot be loaded is an error and no standstill
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._reader, writer = os.pipe()
        self._pipe = os.fdopen(writer, "wb", buffering=_PIPE_BYTES)
        self._thread = threading.Thread(target=self._save, name="libvips", daemon=True)
        self._thread.start()
        self._writer = _png_writer(self._put, canvas, replace(tags, exif=None, xmp=None), level=0)

    def rows(self, array: npt.NDArray[Any]) -> None:
        try:
            self._writer.rows(array)
        except BrokenPipeError:
            self._join()

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self._writer.end()
        self._join()
        self._finish()

    def close(self) -> None:
        with suppress(Exception):
            self._join()

    def _put(self, data: Any) -> None:
        if self._over.is_set():
            raise BrokenPipeError
        self._pipe.write(data)

    def _join(self) -> None:
        """End the pipe, too early if rows are missing, wait for libvips, and raise what it failed with."""
        with suppress(OSError):
            self._pipe.close()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _save(self) -> None:
        pyvips = self._vips
        try:
            source = pyvips.Source.new_from_descriptor(self._reader)
            # fail_on is vital: without it a producer that dies leaves a file that looks complete
            image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error", unlimited=True)
            self._encode(image)
        except pyvips.Error as error:
            self._error = self._cause(str(error))
        except BaseException as error:
            self._error = error
        finally:
            self._over.set()
            # one who waits to write into a full pipe must get on to see that it is over
            while os.read(self._reader, _PIPE_BYTES):
                pass
            os.close(self._reader)

    def _encode(self, image: Any) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """What is left to do in the file when libvips is done."""

    def _cause(self, text: str) -> Exception:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in text:
                return OSError(number, os.strerror(number))
        lines = [line.strip() for line in text.splitlines() if ": " in line]
        return PictureError(
            f"the {self._encoding.format} encoder failed: {lines[-1] if lines else text.strip()}"
        )


class _Jpeg(_Piped):
    def _encode(self, image: Any) -> None:
        target = self._vips.TargetCustom()
        splice = jpeg.Splice(self._file.write, exif=self._tags.exif, xmp=self._tags.xmp, dpi=self._tags.dpi)
        target.on_write(splice.write)
        try:
            # never `interlace` or `optimize_coding`: they hold the whole picture
            quality = _quality(self._encoding)
            image.jpegsave_target(target, Q=quality, subsample_mode="off", keep="icc")
        finally:
            if splice.error is not None:
                raise splice.error


class _Tiff(_Piped):
    def _encode(self, image: Any) -> None:
        pyvips = self._vips
        canvas = self._canvas
        if self._tags.xmp:
            image = image.copy()
            image.set_type(pyvips.GValue.blob_type, "xmp-data", self._tags.xmp)
        unpacked = canvas.width * canvas.height * canvas.samples * canvas.bits // 8
        tiled = {"tile": True, "tile_width": 256, "tile_height": 256, "pyramid": True}
        image.tiffsave_target(
            pyvips.Target.new_to_descriptor(self._file.fileno()),
            compression="deflate",
            predictor="horizontal",
            level=3,
            resunit="inch",
            bigtiff=unpacked * (4 / 3 if self._encoding.pyramid else 1) > _BIGTIFF_BYTES,
            keep="icc" if not self._tags.xmp else "icc,xmp",
            **(tiled if self._encoding.pyramid else {}),
        )

    def _finish(self) -> None:
        if self._tags.dpi is None:
            tiff_page.forget_resolution(self._file)
        if self._tags.exif:
            tiff_page.add_exif(self._file, self._tags.exif)


class _Collected:
    """Pillow, once the whole picture is there."""

    def __init__(self, file: BinaryIO, canvas: Canvas, encoding: Encoding, tags: Tags) -> None:
        self._file, self._encoding, self._tags = file, encoding, tags
        self.size = 0
        self._pixels: npt.NDArray[np.uint8] = np.empty(
            (canvas.height, canvas.width, canvas.samples), np.uint8
        )
        self._done = 0

    def rows(self, array: npt.NDArray[Any]) -> None:
        self._pixels[self._done : self._done + len(array)] = array
        self._done += len(array)

    def end(self) -> None:
        from PIL import Image

        pixels = self._pixels[..., 0] if self._pixels.shape[2] == 1 else self._pixels
        options: dict[str, Any] = {"quality": _quality(self._encoding)}
        if self._encoding.format == "webp":
            # exact: colour under transparency is kept, it was bled there on purpose
            options |= {"lossless": self._encoding.lossless, "exact": self._encoding.lossless}
        else:
            options |= {"subsampling": "4:0:0" if pixels.ndim == 2 else "4:4:4"}
        named = {"icc_profile": self._tags.icc, "exif": self._tags.exif, "xmp": self._tags.xmp}
        options |= {name: value for name, value in named.items() if value}
        packed = io.BytesIO()
        machine.trim()  # much is asked for at once now, faster than who watches the memory may look
        try:
            Image.fromarray(pixels).save(packed, self._encoding.format, **options)
        except Exception as error:
            raise PictureError(f"the {self._encoding.format} encoder failed: {error}") from error
        self.size = len(packed.getbuffer())
        self._file.write(packed.getbuffer())

    def close(self) -> None:
        pass


_ENCODERS: dict[str, Callable[[BinaryIO, Canvas, Encoding, Tags], Encoder]] = {
    "png": _Png,
    "jpeg": _Jpeg,
    "tiff": _Tiff,
    "webp": _Collected,
    "avif": _Collected,
}


def _quality(encoding: Encoding) -> int:
    return formats.named(encoding.format).quality if encoding.quality is None else encoding.quality


def _png_writer(write: Callable[[Any], object], canvas: Canvas, tags: Tags, *, level: int) -> png.Writer:
    return png.Writer(
        write,
        width=canvas.width,
        height=canvas.height,
        samples=canvas.samples,
        bits=canvas.bits,
        level=level,
        chunks=png.descriptive(icc=tags.icc, exif=tags.exif, xmp=tags.xmp, dpi=tags.dpi),
    )
