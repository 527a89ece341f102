"""What one training step sees of the pictures.

Every sample follows from (seed, step, index of the sample) alone: a run that is resumed, or shared
out over threads and processes, sees the same samples as one that is not (law 7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from liif_cli.engine.turns import Turn
from liif_cli.nn.coords import Floats, Grid, Whole
from liif_cli.train.degrade import photo
from liif_cli.train.recipe import Recipe, Samples

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One training picture as kept: (h, w, 3) uint8, and its partner where there is one.

    low: for `paired` and `sizes`, the low-resolution picture of the same place, (h', w', 3).
    """

    name: str
    pixels: Bytes
    low: Bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Photos:
    """All pictures of a run with the share of samples each is drawn for; shares sum to 1."""

    photos: Sequence[Photo]
    share: Floats

    @property
    def megapixels(self) -> float:
        return sum(_area(photo) for photo in self.photos) / 1e6

    def draw(self, rng: np.random.Generator) -> Photo:
        index = int(np.searchsorted(np.cumsum(self.share), rng.random(), side="right"))
        return self.photos[min(index, len(self.photos) - 1)]


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """The pixels where `rows` (n,) and `columns` (m,) of the output of a patch cross."""

    grid: Grid
    rows: Whole
    columns: Whole


@dataclass(frozen=True, kw_only=True)
class Points:
    """Any points (B, N, 2) and the cells (B, 2) they stand for, in input pixels (see `Model.query`)."""

    points: Floats
    cells: Floats


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples of one step, or a shard of them.

    low:    (B, 3, p, p) input, values 0 to 1, rounded to 8 bits as a file would have it.
    asked:  crossings, the same for all samples, or points, for each its own.
    target: (B, n, m, 3) of crossings, (B, N, 3) of points; values 0 to 1.
    """

    low: Tensor
    asked: Crossings | Points
    target: Tensor


def weighed(photos: Sequence[Photo], shares: dict[str, float] | Samples) -> Photos:
    """Pictures with their share of samples: pixels, times the weight of the first glob that fits."""
    table = shares.shares if isinstance(shares, Samples) else shares

    def weight(photo: Photo) -> float:
        factor = next((w for glob, w in table.items() if fnmatch(photo.name, glob)), 1.0)
        return factor * _area(photo)

    share = np.array([weight(photo) for photo in photos], np.float64)
    return Photos(photos=photos, share=share / share.sum())


def smallest_side(samples: Samples) -> int:
    """Side in pixels that a picture needs for one sample."""
    return samples.patch_px if samples.pairs != "reduce" else round(samples.patch_px * samples.scale_max)


def round_bytes(recipe: Recipe) -> int:
    """Memory that the inputs and targets of `repeat` steps take, in bytes, and the codes of a frozen encoder.

    Less at factors so small that a patch has fewer pixels than `lines`.
    """
    samples = recipe.samples
    codes = recipe.model.encoder.width + 3 if recipe.schedule.frozen_steps else 0
    low, point = samples.patch_px**2 * (3 + codes) * 4, 3 * 4 + (2 * 8 if samples.queries else 0)
    return samples.repeat * samples.batch * (low + (samples.queries or samples.lines**2) * point)


def batch(photos: Photos, samples: Samples, *, seed: int, step: int, first: int, count: int) -> Batch:
    """Samples `first` to `first + count` of a step."""
    generators = [_generator(seed, step, index) for index in range(first, first + count)]
    if samples.queries:
        return _points(photos, samples, generators)
    return _crossings(photos, samples, _generator(seed, step, samples.batch), generators)


def turned(given: Batch, turn: Turn) -> Batch:
    """The same questions to the flipped and turned inputs, and the same targets: those of crossings are
    transposed where the inputs are, as the answers will be; nothing else changes its order."""
    axes = [axis for axis, flipped in ((2, turn.flip_y), (3, turn.flip_x)) if flipped]
    low, what, target = given.low.flip(axes), given.asked, given.target
    asked: Crossings | Points
    if isinstance(what, Points):
        last = np.array(low.shape[2:]) - 1.0
        points, cells = np.where([turn.flip_y, turn.flip_x], last - what.points, what.points), what.cells
        if turn.transpose:
            points, cells = points[..., ::-1].copy(), cells[:, ::-1].copy()
        asked = Points(points=points, cells=cells)
    else:
        rows = what.grid.out_height - 1 - what.rows if turn.flip_y else what.rows
        columns = what.grid.out_width - 1 - what.columns if turn.flip_x else what.columns
        if turn.transpose:
            rows, columns, target = columns, rows, target.transpose(1, 2)
        asked = Crossings(grid=turn.grid(what.grid), rows=rows, columns=columns)
    return Batch(low=low.transpose(2, 3) if turn.transpose else low, asked=asked, target=target)


def _generator(seed: int, step: int, stream: int) -> np.random.Generator:
    """The random numbers of a sample of a step, by its index, or (by the next) of what all have in common."""
    # Not (seed, step, stream): numpy fills up with zeros, so that stream 0 would be that of (seed, step).
    return np.random.default_rng(np.random.SeedSequence((seed, step), spawn_key=(stream,)))


def _crossings(
    photos: Photos,
    samples: Samples,
    common: np.random.Generator,
    generators: Sequence[np.random.Generator],
) -> Batch:
    """Ours: one factor for the whole batch, and some rows and columns all over the patch.

    Where they cross is asked for: as cheap as a window of as many pixels (`render_block`), but every
    code of the patch has a say, and neighbouring pixels, which say much the same, are rare.
    """
    scale = _scale(samples, common)
    pairs = [_pair(photos, samples, scale, rng) for rng in generators]
    high = torch.stack([torch.from_numpy(h) for h, _ in pairs])
    low = torch.stack([low for _, low in pairs])
    height, width = high.shape[1:3]
    rows, columns = (np.sort(common.permutation(n)[: samples.lines]) for n in (height, width))
    return Batch(
        low=low,
        asked=Crossings(
            grid=Grid.whole(low.shape[2], low.shape[3], height, width), rows=rows, columns=columns
        ),
        target=high[:, rows][:, :, columns].float() / 255,
    )


def _points(photos: Photos, samples: Samples, generators: Sequence[np.random.Generator]) -> Batch:
    """The paper's way: each sample has its own factor, and random pixels of its crop are asked for."""
    lows, targets, points, cells = [], [], [], []
    for rng in generators:
        high, low = _pair(photos, samples, _scale(samples, rng), rng)
        rows, columns = high.shape[:2]
        # With fewer pixels than queries (small factors) some are asked twice.
        wanted = rng.choice(rows * columns, samples.queries, replace=samples.queries > rows * columns)
        y, x = np.divmod(wanted, columns)
        cell = np.array([low.shape[1] / rows, low.shape[2] / columns])
        targets.append(torch.from_numpy(high[y, x]).float() / 255)
        points.append((np.stack([y, x], 1) + 0.5) * cell - 0.5)
        cells.append(cell)
        lows.append(low)
    return Batch(
        low=torch.stack(lows),
        asked=Points(points=np.stack(points), cells=np.stack(cells)),
        target=torch.stack(targets),
    )


def _scale(samples: Samples, rng: np.random.Generator) -> float:
    if samples.pairs == "sizes":
        return float(rng.integers(samples.size_min, samples.size_max + 1)) / samples.patch_px
    if samples.spread == "log":
        return math.exp(rng.uniform(math.log(samples.scale_min), math.log(samples.scale_max)))
    return float(rng.uniform(samples.scale_min, samples.scale_max))


def _pair(photos: Photos, samples: Samples, scale: float, rng: np.random.Generator) -> tuple[Bytes, Tensor]:
    """One sample: high resolution (H, W, 3) uint8, low resolution (3, h, w) in whole 255ths."""
    photo = photos.draw(rng)
    turn = int(rng.integers(8)) if samples.flips else 0
    if samples.pairs == "paired":
        return _matching(photo, samples, turn, rng)
    if samples.pairs == "sizes":
        size = round(samples.patch_px * scale)
        source = _turned(photo.pixels, turn)
        high = to_bytes(reduced(source, size, size)).permute(1, 2, 0).numpy()
        low = _turned(photo.low, turn) if photo.low is not None else source
        return high, _low(low, samples, scale, rng)
    side = round(samples.patch_px * scale)
    crops = [_crop(photo.pixels, side, rng) for _ in range(samples.detail)]
    crop = crops[0] if len(crops) == 1 else max(crops, key=_detail)
    high = _turned(crop, turn)
    return high, _low(high, samples, scale, rng)


def _matching(photo: Photo, samples: Samples, turn: int, rng: np.random.Generator) -> tuple[Bytes, Tensor]:
    """`paired`: a crop of the low picture and the crop of the high one that shows the same."""
    assert photo.low is not None
    factor = photo.pixels.shape[0] // photo.low.shape[0]
    p = samples.patch_px
    top, left = (int(rng.integers(n - p + 1)) for n in photo.low.shape[:2])
    low = photo.low[top : top + p, left : left + p]
    high = photo.pixels[top * factor : (top + p) * factor, left * factor : (left + p) * factor]
    return _turned(high, turn), torch.from_numpy(_turned(low, turn)).permute(2, 0, 1).float() / 255


def _low(source: Bytes, samples: Samples, scale: float, rng: np.random.Generator) -> Tensor:
    """The input a picture gives: reduced, with what `degrade` says done to it, rounded to 8 bits."""
    low = reduced(source, samples.patch_px, samples.patch_px)
    if samples.degrade == "photo":
        low = photo(low, scale, rng)
    return to_bytes(low).float() / 255


def reduced(pixels: Bytes, height: int, width: int) -> Tensor:
    """(h, w, 3) uint8 -> (3, height, width), values 0 to 1, by the antialiased bicubic (a = -0.5) that
    Pillow has too; not rounded."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(image, (height, width), mode="bicubic", antialias=True, align_corners=False)[0]


def to_bytes(image: Tensor) -> Tensor:
    """Values 0 to 1 -> uint8, rounded, clamped."""
    return (image * 255).round().clamp(0, 255).to(torch.uint8)


def _area(photo: Photo) -> float:
    return float(photo.pixels.shape[0] * photo.pixels.shape[1])


def _crop(pixels: Bytes, side: int, rng: np.random.Generator) -> Bytes:
    top, left = (int(rng.integers(n - side + 1)) for n in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _detail(crop: Bytes) -> float:
    """Mean absolute gradient of the green channel, on every other pixel where the crop is large."""
    green = crop[..., 1]
    stride = max(1, math.isqrt(green.size // 4096))
    lines = green[::stride].astype(np.int16), green[:, ::stride].astype(np.int16)
    return float(np.abs(np.diff(lines[0], axis=1)).mean() + np.abs(np.diff(lines[1], axis=0)).mean())


def _turned(pixels: Bytes, turn: int) -> Bytes:
    """One of the eight flips and transpositions."""
    if turn & 4:
        pixels = pixels.transpose(1, 0, 2)
    if turn & 2:
        pixels = pixels[::-1]
    if turn & 1:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
