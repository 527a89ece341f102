"""How good a half-trained model is: PSNR on held-out pictures by `evaluate`'s code, and sheets to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from liif_cli.engine.target import Target
from liif_cli.evaluate.baselines import Upscale, bicubic
from liif_cli.evaluate.protocol import BENCHMARK, Pair, Scale, means, pair, score
from liif_cli.image.picture import Picture, as_float
from liif_cli.nn.coords import Grid
from liif_cli.nn.grid import render_grid
from liif_cli.nn.model import Model
from liif_cli.train.data import Bytes, to_bytes
from liif_cli.train.degrade import photo

SCALES = (2, 3, 4)
# The middle of a held-out picture says as much as all of it, and is soon done.
_SIDE_PX = 256
_SHEET_SCALE, _SHEET_ROWS = 4, 6


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Pictures no step sees, at x2 x3 x4, and what bicubic scores on them: {scale: dB}."""

    pairs: tuple[Pair, ...]
    bicubic: Mapping[int, float]


def held_out(pictures: Sequence[tuple[str, Bytes]], *, degrade: bool = False) -> HeldOut:
    """Pairs from the middle of each (name, (h, w, 3) uint8).

    degrade: the inputs are what `degrade.photo` makes of them, the same at each call: a model for
    photos that have been through a camera is judged by such photos.
    """
    middles = [(name, Picture(pixels=_middle(pixels))) for name, pixels in pictures]
    pairs = tuple(pair(name, hr, Scale(x=s, y=s)) for s in SCALES for name, hr in middles)
    if degrade:
        pairs = tuple(_degraded(one, seed) for seed, one in enumerate(pairs))
    return HeldOut(pairs=pairs, bicubic=_psnr(bicubic, pairs, workers=1))


def judge(model: Model, pictures: HeldOut, *, workers: int = 1) -> dict[int, float]:
    """{scale: mean PSNR on Y in dB}, several pictures at once, each on one thread."""
    return _psnr(upscale_with(model), pictures.pairs, workers=workers)


def upscale_with(model: Model) -> Upscale:
    """The model as `evaluate` wants it, for small pictures: in one piece, in float32."""

    def upscale(picture: Picture, target: Target) -> Picture:
        width, height = target.output_size(picture.width, picture.height)
        parameter = next(model.parameters())
        low = torch.from_numpy(as_float(picture)).permute(2, 0, 1)[None].to(parameter.device)
        grid = Grid.whole(picture.height, picture.width, height, width)
        with torch.no_grad():
            answer = render_grid(model, model.encode(low), grid)[0]
        return Picture(pixels=answer.clamp(0, 1).cpu().numpy())

    return upscale


def sheet(model: Model, pictures: HeldOut) -> Bytes:
    """The first held-out pictures at x4, a row each: LR | bicubic | ours | HR."""
    upscale = upscale_with(model)
    chosen = [p for p in pictures.pairs if p.scale.x == _SHEET_SCALE][:_SHEET_ROWS]
    rows = [np.concatenate(list(_row(p, upscale)), 1) for p in chosen]
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(r, ((0, 4), (0, widest - r.shape[1]), (0, 0))) for r in rows])


def _degraded(clean: Pair, seed: int) -> Pair:
    low = torch.from_numpy(as_float(clean.lr)).permute(2, 0, 1)
    low = to_bytes(photo(low, clean.scale.x, np.random.default_rng(seed)))
    return replace(clean, lr=Picture(pixels=low.permute(1, 2, 0).numpy()))


def _row(pair: Pair, upscale: Upscale) -> Iterator[Bytes]:
    target = Target(size=(pair.hr.width, pair.hr.height))
    low = pair.lr.pixels.repeat(_SHEET_SCALE, 0).repeat(_SHEET_SCALE, 1)
    ours = upscale(pair.lr, target).pixels
    for pixels in (low, bicubic(pair.lr, target).pixels, np.rint(ours * 255), pair.hr.pixels):
        yield np.pad(np.asarray(pixels, np.uint8), ((0, 0), (0, 4), (0, 0)))


def _psnr(upscale: Upscale, pairs: Sequence[Pair], *, workers: int) -> dict[int, float]:
    with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool:
        scores = [s for some in pool.map(lambda p: list(score(upscale, [p], BENCHMARK)), pairs) for s in some]
    return {round(scale.x): value for (scale, _), value in means(scores).items()}


def _middle(pixels: Bytes) -> Bytes:
    top, left = (max(0, n - _SIDE_PX) // 2 for n in pixels.shape[:2])
    return pixels[top : top + _SIDE_PX, left : left + _SIDE_PX]
