"""Decoders: what colour is at a point, given the codes around it (LIIF, arXiv 2012.09161, section 3).

Here is the plain, readable way: every formula where the eye expects it, any points, no reordering.
`nn/grid.py` gives the same answers on regular grids, faster.

Both decoders are a stack of linear layers with ReLU between them. The first takes
[code, with its neighbours if unfolded | relative coordinate (y, x) | relative cell (y, x)].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liif_cli.nn.coords import AxisTaps, Floats, taps_at
from liif_cli.nn.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Codes:
    """What the encoder made of a picture, or of a tile of it.

    feat:      (B, C, h, w) codes.
    picture:   (B, 3, h, w) what was encoded, values 0 to 1.
    top, left: where the tile lies in the whole input, in pixels.
    full:      (height, width) of the whole input, in pixels.
    """

    feat: Tensor
    picture: Tensor
    top: int
    left: int
    full: tuple[int, int]


class Decoder(nn.Module):
    """The layers of one decoder. `spec.decoder.kind` says where the taps are blended."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec.decoder
        code = spec.encoder.width * (9 if self.spec.unfold else 1)
        widths = [code + 2 + (2 if self.spec.cell else 0), *self.spec.hidden, 3]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers, first to last."""
        return cast("list[nn.Linear]", list(self.layers))

    def query(self, codes: Codes, points: Floats, cell: tuple[float, float] | Floats) -> Tensor:
        """Colour at `points` (B, N, 2), (y, x) in input pixels; see `Model.query`. (B, N, 3)."""
        taps = list(_taps(codes, points, ensemble=self.spec.ensemble))
        feat = codes.feat
        if self.spec.unfold:  # eq. 3: channel order c * 9 + row * 3 + column, as torch's unfold gives
            feat = F.unfold(feat, 3, padding=1).view(len(feat), -1, *feat.shape[2:])
        inputs = [self._input(feat, tap, cell) for tap in taps]
        if self.spec.kind == "liif":
            answer = sum_of(tap.weight * self._mlp(x) for tap, x in zip(taps, inputs, strict=True))
            return answer * 0.5 + 0.5
        # Ours: the sum over the taps stands behind the first ReLU, the rest runs once per point.
        first = sum_of(tap.weight * F.relu(self.linears[0](x)) for tap, x in zip(taps, inputs, strict=True))
        return self._mlp(first, after=1) * 0.5 + _bilinear(codes, points)

    def _input(self, feat: Tensor, tap: _Tap, cell: tuple[float, float] | Floats) -> Tensor:
        """(B, N, inputs of the first layer) for one of the taps, from codes as the layer takes them."""
        # One input pixel is two units: the [-1, 1] picture, times its size.
        parts = [_pick(feat, tap.index), 2 * tap.offset]
        if self.spec.cell:
            size = torch.as_tensor(cell, dtype=feat.dtype, device=feat.device)
            parts.append((2 * size).view(-1, 1, 2).expand_as(tap.offset))
        return torch.cat(parts, -1)

    def _mlp(self, x: Tensor, *, after: int = 0) -> Tensor:
        """The layers behind the first `after` ones."""
        *hidden, last = self.linears[after:]
        for layer in hidden:
            x = F.relu(layer(x))
        out: Tensor = last(x)
        return out


@dataclass(frozen=True, kw_only=True)
class _Tap:
    """One code for each of N points: index (B, N) into h * w, offset (B, N, 2), weight (B, N, 1)."""

    index: Tensor
    offset: Tensor
    weight: Tensor


def _taps(codes: Codes, points: Floats, *, ensemble: bool) -> Iterator[_Tap]:
    batch, count, _ = points.shape
    height, width = codes.full
    rows = taps_at(points[..., 0].reshape(-1), height)
    columns = taps_at(points[..., 1].reshape(-1), width)
    if not ensemble:
        rows, columns = rows.nearest(), columns.nearest()
    like = codes.feat
    y, dy, wy = _axis(rows, codes.top, like.shape[2], like)
    x, dx, wx = _axis(columns, codes.left, like.shape[3], like)
    for a in range(y.shape[1]):
        for b in range(x.shape[1]):
            yield _Tap(
                index=(y[:, a] * like.shape[3] + x[:, b]).view(batch, count),
                offset=torch.stack([dy[:, a], dx[:, b]], -1).view(batch, count, 2),
                weight=(wy[:, a] * wx[:, b]).view(batch, count, 1),
            )


def _axis(taps: AxisTaps, start: int, size: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index within the tile, offset and weight as tensors beside `like`."""
    index = taps.index - start
    if len(taps) and not (index.min() >= 0 and index.max() < size):
        raise ValueError("the tile does not cover the points that were asked")
    return (
        torch.from_numpy(index).to(like.device),
        torch.from_numpy(taps.offset).to(like),
        torch.from_numpy(taps.weight).to(like),
    )


def _bilinear(codes: Codes, points: Floats) -> Tensor:
    """The picture itself, bilinearly at the points, (B, N, 3)."""
    taps = _taps(codes, points, ensemble=True)
    return sum_of(tap.weight * _pick(codes.picture, tap.index) for tap in taps)


def _pick(image: Tensor, index: Tensor) -> Tensor:
    """(B, C, h, w) at index (B, N) -> (B, N, C)."""
    flat = image.flatten(2)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def sum_of(terms: Iterator[Tensor]) -> Tensor:
    """Sum of at least one tensor."""
    total = next(terms)
    for term in terms:
        total = total + term
    return total
