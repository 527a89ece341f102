"""What each format of the output can hold. Known before anything is computed; no library is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from liif_cli.errors import DeviceError, PictureError, UsageError, nearest
from liif_cli.machine import mib

# What a writer that streams holds: compressor, pipe, the rows libvips keeps.
_STREAM_BYTES = 32 << 20
# What packing takes of those that do not: in all; for each pixel of noise, the worst; and what is told for
# each. Measured with Pillow 12 and 13, from 0.09 to 35 megapixels. Photos take three quarters of it and more,
# but half in WebP with losses: there what is told lies between the two.
_AVIF, _AVIF_GREY = (12 << 20, 50, 50), (12 << 20, 22, 22)
_WEBP, _WEBP_ALPHA, _WEBP_LOSSLESS = (2 << 20, 33, 24), (2 << 20, 49, 49), (20 << 20, 46, 46)
# ... and what lies beside it: scratch space of the libraries that computed, which nobody can give back. 10 to
# 16 MiB were found.
LEFT_BYTES = 20 << 20
# Size of the file per 8-bit sample of a photo that is packed without loss, at least.
_LOSSLESS_SAMPLE = 0.4


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format that can be written.

    max_side:  pixels along the longer side.
    bits:      depths a sample can have.
    quality:   used where none is asked for; 0: the format has no such thing.
    streams:   can be written band by band in little memory, however large the picture is.
    bytes_per_sample: size of the file per 8-bit sample of a photo, for estimates.
    pyramid:   can lie in tiles with smaller copies beside it, for viewers of very large pictures.
    """

    name: str
    suffixes: tuple[str, ...]
    max_side: int
    bits: tuple[int, ...]
    alpha: bool
    streams: bool
    quality: int
    lossless: bool
    bytes_per_sample: float
    pyramid: bool = False


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            name="png",
            suffixes=(".png", ".apng"),
            max_side=2**31 - 1,
            bits=(8, 16),
            alpha=True,
            streams=True,
            quality=0,
            lossless=True,
            bytes_per_sample=0.6,
        ),
        Format(
            name="tiff",
            suffixes=(".tif", ".tiff"),
            max_side=2**31 - 1,
            bits=(8, 16),
            alpha=True,
            streams=True,
            quality=0,
            lossless=True,
            bytes_per_sample=0.7,
            pyramid=True,
        ),
        Format(
            name="jpeg",
            suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
            max_side=65_500,
            bits=(8,),
            alpha=False,
            streams=True,
            quality=95,
            lossless=False,
            bytes_per_sample=0.2,
        ),
        Format(
            name="webp",
            suffixes=(".webp",),
            max_side=16_383,
            bits=(8,),
            alpha=True,
            streams=False,
            quality=95,
            lossless=True,
            bytes_per_sample=0.1,
        ),
        Format(
            name="avif",
            suffixes=(".avif",),
            max_side=16_384,
            bits=(8,),
            alpha=True,
            streams=False,
            quality=90,
            lossless=False,
            bytes_per_sample=0.08,
        ),
    )
}

_OTHER_NAMES = {"jpg": "jpeg", "tif": "tiff", "jpe": "jpeg", "jfif": "jpeg"}


def named(name: str) -> Format:
    """The format called `name` (`jpg` and `tif` too). Raises UsageError with the nearest name."""
    word = name.lower().removeprefix(".")
    try:
        return FORMATS[_OTHER_NAMES.get(word, word)]
    except KeyError:
        known = f"known are {', '.join(FORMATS)}"
        raise UsageError(
            f"cannot write {name!r} files", hint=nearest(word, [*FORMATS, *_OTHER_NAMES], otherwise=known)
        ) from None


def of_suffix(path: Path) -> Format | None:
    """The format a file name asks for, None if its suffix names none that can be written."""
    suffix = path.suffix.lower()
    return next((f for f in FORMATS.values() if suffix in f.suffixes), None)


def check(
    format: Format | str,
    *,
    width: int,
    height: int,
    bits: int = 8,
    alpha: bool = False,
    lossless: bool = False,
    pyramid: bool = False,
    budget_bytes: int | None = None,
) -> None:
    """Raise an error, naming formats that can, if `format` cannot hold such a picture: PictureError, or
    DeviceError where packing it takes more than `budget_bytes`.
    """
    format = named(format) if isinstance(format, str) else format

    def refuses(format: Format) -> str:
        if max(width, height) > format.max_side:
            return f"{width}x{height} pixels, and it ends at {format.max_side:,} a side"
        if bits not in format.bits:
            return f"{bits} bits a sample, and it holds {format.bits[-1]}"
        if alpha and not format.alpha:
            return "it has transparency, and this format has none"
        if lossless and not format.lossless:
            return "it is lossy, and --lossless is asked for"
        if pyramid and not format.pyramid:
            return "a pyramid is asked for"
        return ""

    def needs(format: Format) -> int:
        channels = 4 if alpha else 3
        return writing(format, width=width, height=height, channels=channels, lossless=lossless).packing_bytes

    def fits(format: Format) -> bool:
        return budget_bytes is None or needs(format) <= budget_bytes

    reason = refuses(format)
    if not reason and fits(format):
        return
    able = [f.name for f in FORMATS.values() if not refuses(f) and fits(f)]
    hint = f"{' and '.join(able)} can: choose one with --format" if able else "no format can hold that"
    if reason:
        raise PictureError(f"{format.name} cannot hold the result: {reason}", hint=hint)
    if lossless and format.quality:
        hint += f"; -Q {format.quality} packs with losses, in less"
    raise DeviceError(
        f"memory is short: packing {width}x{height} pixels as {'lossless ' if lossless else ''}{format.name} "
        f"takes {mib(needs(format))}, {(budget_bytes or 0) >> 20} MiB are allowed",
        hint=f"more --memory; {hint}" if able else "more --memory",
    )


def keeps_grey(format: str, *, alpha: bool) -> bool:
    """Whether grey stays one channel in it: the others write it as RGB."""
    return format != "webp" and not (format == "avif" and alpha)


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What writing a picture holds.

    held_bytes:    while it is computed, beside the bands that are handed over.
    packing_bytes: once all of it is there, that and what computing has left included; 0 for a format that
                   is written as bands come.
    told_bytes:    as packing_bytes, where the picture need not be noise.
    """

    held_bytes: int = 0
    packing_bytes: int = 0
    told_bytes: int = 0

    def peak_bytes(self, given_bytes: int, computing_bytes: int) -> int:
        """What is likely to be held at most, with the input and what computing takes."""
        return given_bytes + max(self.held_bytes + computing_bytes, self.told_bytes)


def writing(
    format: Format | str, *, width: int, height: int, channels: int, lossless: bool = False
) -> Writing:
    """What writing a picture of 8-bit samples holds; `channels` counts alpha."""
    format = named(format) if isinstance(format, str) else format
    if format.streams:
        return Writing(held_bytes=_STREAM_BYTES)
    if format.name == "avif":
        once, most, told = _AVIF_GREY if channels == 1 else _AVIF
    elif lossless:
        once, most, told = _WEBP_LOSSLESS
    else:
        once, most, told = _WEBP_ALPHA if channels in (2, 4) else _WEBP
    pixels, once = width * height, LEFT_BYTES + once
    return Writing(
        held_bytes=pixels * channels,
        packing_bytes=once + pixels * most,
        told_bytes=once + pixels * told,
    )


def likely_bytes(
    format: Format | str,
    *,
    width: int,
    height: int,
    channels: int,
    bits: int = 8,
    lossless: bool = False,
) -> int:
    """About how large the file of a photo will be; `channels` counts alpha."""
    format = named(format) if isinstance(format, str) else format
    each = max(format.bytes_per_sample, _LOSSLESS_SAMPLE if lossless else 0)
    if bits > 8:  # the lower half of 16 bits is noise, which no format makes smaller
        each += 1
    return int(width * height * channels * each) + 4096
