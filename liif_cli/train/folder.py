"""A folder of training pictures, read once and kept in memory as uint8."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from liif_cli.errors import LiifError, TrainingError, no_folder
from liif_cli.image.picture import Picture, to_bits
from liif_cli.image.read import read
from liif_cli.image.resample import resample_8bit
from liif_cli.train.data import Bytes, Photo
from liif_cli.train.recipe import Samples

_VALIDATION_SHARE, _VALIDATION_MOST = 0.05, 50
# The folders of `paired` and `sizes`, below the data folder.
_HIGH, _LOW = "HR", "LR"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One training picture on disk: its name below the data folder, its file, its partner if any."""

    name: str
    path: Path
    low: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What came of reading: pictures in the order of their names, and why others are left out."""

    photos: list[Photo]
    left_out: list[str]


def find(data: Path, samples: Samples) -> list[Source]:
    """All pictures below a folder, in the order of their names.

    `paired` and `sizes` take `HR/` and, where it is there, `LR/`, paired by name (`a.png` with `a.png`
    or `ax4.png`). Raises TrainingError: no folder, nothing in it, a picture without its partner.
    """
    if not data.is_dir():
        raise TrainingError(no_folder(data))
    has_pairs = samples.pairs != "reduce" and (data / _HIGH).is_dir()
    if samples.pairs == "paired" and not (has_pairs and (data / _LOW).is_dir()):
        raise TrainingError(f"{data}: paired training needs the folders {_HIGH}/ and {_LOW}/ in it")
    base = data / _HIGH if has_pairs else data
    files = sorted(_files(base))
    if not files:
        raise TrainingError(f"{base}: no files in this folder")
    partners = _partners(data / _LOW) if has_pairs and (data / _LOW).is_dir() else None
    sources = []
    for path in files:
        name = path.relative_to(base).as_posix()
        low = partners.get(_stem(name)) if partners is not None else None
        if partners is not None and low is None:
            raise TrainingError(f"{path}: no partner below {data / _LOW}")
        sources.append(Source(name=name, path=path, low=low))
    return sources


def split(sources: Sequence[Source], seed: int) -> tuple[list[Source], list[Source]]:
    """(training, validation): 5 % of the pictures, at least 1, at most 50, are held out by chance."""
    if len(sources) < 2:
        raise TrainingError(
            "one picture is not enough: one is held out to judge by", hint="give more pictures, or --val DIR"
        )
    count = min(_VALIDATION_MOST, max(1, round(_VALIDATION_SHARE * len(sources))))
    order = np.random.default_rng(seed).permutation(len(sources)).tolist()
    return [sources[i] for i in sorted(order[count:])], [sources[i] for i in order[:count]]


def load(
    sources: Sequence[Source],
    samples: Samples,
    *,
    smallest_px: int,
    seed: int,
    limit_bytes: int,
    tell: Callable[[int], None] = lambda done: None,
) -> Kept:
    """Read every picture once. Unreadable and too small ones are left out, each with a line.

    smallest_px: side that a picture needs; limit_bytes: what all may take together (TrainingError);
    tell: called with the count of pictures done.
    """

    def one(item: tuple[int, Source]) -> tuple[list[Photo], str]:
        index, source = item
        try:
            pixels = rgb(read(source.path))
            low = rgb(read(source.low)) if source.low else None
        except LiifError as error:
            return [], str(error)
        smaller = pixels if low is None else low
        if min(smaller.shape[:2]) < smallest_px:
            size = f"{smaller.shape[1]}x{smaller.shape[0]}"
            return [], f"{source.path}: {size} is less than {smallest_px} pixels a side"
        photo = Photo(name=source.name, pixels=pixels, low=low)
        if samples.pairs == "paired" and (fault := _mismatch(photo)):
            return [], f"{source.path}: {fault}"
        return list(_copies(photo, samples, smallest_px, np.random.default_rng((seed, index)))), ""

    photos: list[Photo] = []
    left_out = []
    total = 0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for done, (some, why) in enumerate(pool.map(one, enumerate(sources)), 1):
            photos += some
            left_out += [why] if why else []
            total += sum(p.pixels.nbytes + (0 if p.low is None else p.low.nbytes) for p in some)
            if total > limit_bytes:
                pool.shutdown(cancel_futures=True)
                raise TrainingError(
                    f"after {done} of {len(sources)} pictures {total / 1e9:.1f} GB of memory are taken, "
                    f"{limit_bytes / 1e9:.1f} GB may be",
                    hint="fewer pictures, or --set samples.copies=1",
                )
            tell(done)
    return Kept(photos=photos, left_out=left_out)


def rgb(picture: Picture) -> Bytes:
    """(h, w, 3) uint8: grey is repeated, alpha is left out."""
    pixels = to_bits(picture.pixels, 8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _copies(photo: Photo, samples: Samples, smallest_px: int, rng: np.random.Generator) -> Iterator[Photo]:
    """The picture, or copies of it reduced by factors drawn from equal parts of 1 to `reduce_max`."""
    if samples.reduce_max == 1 or samples.pairs != "reduce":
        yield photo
        return
    height, width = photo.pixels.shape[:2]
    most = min(samples.reduce_max, min(height, width) / smallest_px)
    for i in range(samples.copies):
        low, high = (1 + (most - 1) * (i + k) / samples.copies for k in (0, 1))
        factor = rng.uniform(low, high)
        size = max(smallest_px, round(height / factor)), max(smallest_px, round(width / factor))
        yield Photo(name=photo.name, pixels=resample_8bit(photo.pixels, size))


def _mismatch(photo: Photo) -> str:
    """Why a pair does not fit, or nothing."""
    assert photo.low is not None
    (high_h, high_w), (low_h, low_w) = photo.pixels.shape[:2], photo.low.shape[:2]
    factor = high_h // low_h
    if factor >= 1 and (high_h, high_w) == (factor * low_h, factor * low_w):
        return ""
    return f"{high_w}x{high_h} is no whole multiple of its partner's {low_w}x{low_h}"


def _files(base: Path) -> Iterator[Path]:
    """Regular files below a folder; hidden ones, links to folders and the samples of runs left out."""
    for root, folders, names in os.walk(base):
        if {"recipe.toml", "run.json"} <= set(names):
            folders.clear()
            continue
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield from (Path(root, n) for n in names if not n.startswith(".") and Path(root, n).is_file())


def _partners(folder: Path) -> dict[str, Path]:
    found = {}
    for path in _files(folder):
        stem = _stem(path.relative_to(folder).as_posix())
        found[stem] = found[re.sub(r"x\d+(\.\d+)?$", "", stem)] = path
    return found


def _stem(name: str) -> str:
    return str(Path(name).with_suffix(""))
