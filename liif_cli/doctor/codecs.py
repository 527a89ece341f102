"""Which formats can be read and written here: by a small round trip each, not by a list."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from liif_cli.errors import LiifError
from liif_cli.image.formats import FORMATS, Format
from liif_cli.image.isolate import Reader
from liif_cli.image.picture import Picture, Samples, to_bits, to_unit
from liif_cli.image.write import write

Read = Callable[[bytes], Picture]

# What messages about unreadable files promise, beside the formats that are written.
PROMISED = ("GIF", "BMP", "JPEG2000")
_SIDE = 32
_LOSSY_LEVELS = 4  # mean difference that a lossy format may have on smooth slopes, of 255


@dataclass(frozen=True, kw_only=True)
class Codec:
    """What a format turned out to do. bits: depths that came back; fault: what did not, and why."""

    name: str
    reads: bool
    writes: bool
    bits: tuple[int, ...] = ()
    alpha: bool = False
    fault: str = ""


def codecs() -> list[Codec]:
    """Every format that is written, then what else Pillow can make a sample of.

    Reads as `liif upscale` does, in a process of its own.
    """
    with Reader() as reader:
        return [*(written(form, reader.read) for form in FORMATS.values()), *others(reader.read)]


def written(form: Format, read: Read) -> Codec:
    """A round trip in every depth, with transparency where the format has it."""
    bits, alpha, faults = [], False, []
    for depth in form.bits:
        for transparent in (False, True) if form.alpha else (False,):
            given = _sample(depth, transparent)
            fault = _fault_of_trip(form, given, read)
            if fault:
                faults.append(f"{depth} bits{' with alpha' if transparent else ''}: {fault}")
            elif transparent:
                alpha = True
            else:
                bits.append(depth)
    return Codec(
        name=form.name,
        reads=bool(bits),
        writes=bool(bits),
        bits=tuple(bits),
        alpha=alpha,
        fault="; ".join(faults),
    )


def others(read: Read) -> list[Codec]:
    """Formats that are only read: what Pillow writes and we read back; what is promised in any case."""
    from PIL import Image

    Image.init()
    both = (Image.SAVE.keys() & Image.OPEN.keys()) | set(PROMISED)
    found = []
    for name in sorted(both - {form.upper() for form in FORMATS}):
        fault = _fault_of_reading(name, read)
        if not fault or name in PROMISED:
            found.append(Codec(name=name.lower(), reads=not fault, writes=False, fault=fault))
    return found


def _sample(bits: int, transparent: bool) -> Picture:
    """Slopes that use every bit of a sample."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) / (_SIDE - 1)
    pixels = np.stack([x, y, (x + y) / 2], axis=-1)
    alpha = to_bits(1 - x * y, bits) if transparent else None
    return Picture(pixels=to_bits(pixels, bits), alpha=alpha, bits=bits)


def _fault_of_trip(form: Format, given: Picture, read: Read) -> str:
    try:
        file = io.BytesIO()
        write(given, file, format=form.name, lossless=form.lossless and form.quality > 0)
        back = read(file.getvalue())
    except LiifError as error:
        return str(error)
    except Exception as error:  # a library that is not there, or not the one it should be
        return f"{type(error).__name__}: {error}"
    if (back.alpha is None) != (given.alpha is None) or back.pixels.dtype != given.pixels.dtype:
        return f"came back with {back.bits} bits and {'no ' if back.alpha is None else ''}alpha"
    if back.pixels.shape != given.pixels.shape:
        return f"came back with {back.width}x{back.height} pixels"
    apart = max(255 * float(np.abs(to_unit(a) - to_unit(b)).mean()) for a, b in _planes(given, back))
    return f"came back {apart:.1f} levels apart" if apart > (0 if form.lossless else _LOSSY_LEVELS) else ""


def _planes(given: Picture, back: Picture) -> list[tuple[Samples, Samples]]:
    """Colour and colour, alpha and alpha."""
    pairs = [(given.pixels, back.pixels)]
    if given.alpha is not None and back.alpha is not None:
        pairs.append((given.alpha, back.alpha))
    return pairs


def _fault_of_reading(name: str, read: Read) -> str:
    from PIL import Image

    pixels = _sample(8, False).pixels
    reason = f"this Pillow cannot write {name}"
    for mode in ("RGB", "L", "1"):
        file = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Image.fromarray(pixels).convert(mode).save(file, name)
        except Exception as error:  # what a format cannot hold, every plugin says in its own way
            reason = str(error) or reason
            continue
        try:
            read(file.getvalue())
        except LiifError as error:
            return str(error)
        return ""
    return reason
