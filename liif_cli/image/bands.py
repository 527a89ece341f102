"""Writing a picture as it is computed, band by band from the top, in little memory: whole or absent.

Three things keep a file from looking complete when it is not: the encoder is told to fail on rows
that end early, missing and surplus rows are errors, and the name appears only at the very end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt

from liif_cli.errors import PictureError
from liif_cli.image import colour, formats, jpeg, metadata
from liif_cli.image.encoders import Canvas, Encoder, Encoding, Tags, encoder_of
from liif_cli.image.picture import to_bits
from liif_cli.image.whole import pour, refusal, whole

__all__ = ["Bands", "Canvas", "Encoding", "Tags", "open_bands", "write_bands"]


class Bands:
    """Takes the rows of one picture from top to bottom; comes from `open_bands`.

    notes: what the format could not hold.
    """

    def __init__(self, canvas: Canvas, encoder: Encoder, notes: tuple[str, ...]) -> None:
        self._canvas, self._encoder = canvas, encoder
        self.rows_done = 0
        self.notes = notes

    def write(self, rows: npt.NDArray[Any]) -> None:
        """Add rows (n, width, samples): uint8, uint16 or float32 in [0, 1], alpha last."""
        canvas = self._canvas
        if rows.shape[1:] != (canvas.width, canvas.samples):
            raise ValueError(f"rows of {rows.shape[1:]} for {canvas}")
        if self.rows_done + len(rows) > canvas.height:
            raise ValueError(f"more than the {canvas.height} rows promised")
        self._encoder.rows(to_bits(rows, canvas.bits))
        self.rows_done += len(rows)


@contextmanager
def open_bands(
    target: Path | str | BinaryIO,
    canvas: Canvas,
    encoding: Encoding,
    tags: Tags | None = None,
    *,
    overwrite: bool = False,
) -> Iterator[Bands]:
    """Open `target`, a path or a stream such as stdout, for the rows of one picture.

    By the end of the block all rows must have come (else ValueError); then the file is there. It is
    not, and nothing has gone into the stream, if anything went wrong. Raises PictureError if the
    format cannot hold such a picture, the file exists and not `overwrite`, or the disk is full.
    """
    kind = formats.named(encoding.format)
    formats.check(kind, width=canvas.width, height=canvas.height, bits=canvas.bits, alpha=canvas.alpha)
    tags, notes = _held(kind.name, canvas, tags or Tags())
    usual = formats.likely_bytes(
        kind, width=canvas.width, height=canvas.height, channels=canvas.samples, bits=canvas.bits
    )

    def bytes_needed() -> int:
        so_far = os.fstat(file.fileno()).st_size
        by_rows = so_far * canvas.height // max(bands.rows_done, 1)
        return encoder.size or max(usual, by_rows)

    with _opened(target, overwrite, bytes_needed) as file:
        encoder = encoder_of(file, canvas, replace(encoding, format=kind.name), tags)
        bands = Bands(canvas, encoder, notes)
        try:
            yield bands
            if bands.rows_done != canvas.height:
                raise ValueError(f"{bands.rows_done} of {canvas.height} rows came")
            encoder.end()
        finally:
            encoder.close()


def write_bands(
    target: Path | str | BinaryIO,
    bands: Iterable[npt.NDArray[Any]],
    canvas: Canvas,
    encoding: Encoding,
    tags: Tags | None = None,
    *,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """`open_bands` for an iterable of bands (n, width, samples); returns its notes."""
    with open_bands(target, canvas, encoding, tags, overwrite=overwrite) as opened:
        for band in bands:
            opened.write(band)
    return opened.notes


def _held(format: str, canvas: Canvas, tags: Tags) -> tuple[Tags, tuple[str, ...]]:
    """What of `tags` the format can hold, with the picture's new size in it, and what is lost."""
    notes = []
    if tags.exif:
        tags = replace(tags, exif=metadata.resized_exif(tags.exif, canvas.width, canvas.height))
    if format == "jpeg":
        for name, most in (("exif", jpeg.LARGEST_EXIF), ("xmp", jpeg.LARGEST_XMP)):
            block = getattr(tags, name)
            if block and len(block) > most:
                notes.append(
                    f"{len(block):,} bytes of {name.upper()} do not fit into a jpeg and were left out"
                )
                tags = replace(tags, **{name: None})
    stays_grey = canvas.channels == 1 and formats.keeps_grey(format, alpha=canvas.alpha)
    icc, lost = colour.fitting(tags.icc, 1 if stays_grey else 3)
    if lost:
        notes.append(f"the colour profile does not fit the {format} that is written and was left out")
    return replace(tags, icc=icc), tuple(notes)


@contextmanager
def _opened(target: Path | str | BinaryIO, overwrite: bool, needed: Callable[[], int]) -> Iterator[BinaryIO]:
    if isinstance(target, str | Path):
        with whole(Path(target), overwrite=overwrite, needed=needed) as file:
            yield file
        return
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
    except OSError as error:
        raise _unkept((error.strerror or str(error)).lower()) from error
    try:
        try:
            yield file
            file.seek(0)
        except OSError as error:
            there = Path(tempfile.gettempdir()) / "picture"
            why = str(refusal(there, error, needed())).removeprefix(f"{there}: ")
            raise _unkept(f"{there.parent}: {why}") from error
        pour(file, target)
    finally:
        with suppress(OSError):  # where the disk is full, closing tries to write once more
            file.close()


def _unkept(why: str) -> PictureError:
    return PictureError(
        f"a picture for stdout is kept in a temporary file until it is whole: {why}",
        hint="make room, name another folder in TMPDIR, or write to a file with -o",
    )
