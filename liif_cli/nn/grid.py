"""The exact fast way for a regular grid (LIIF.md 3). Nothing is approximated, sums are reordered.

1. The first layer is linear in the unfolded code: a 3x3 convolution, once per *input* pixel.
2. Its coordinate part separates by axis: one row of a table per output row, one per output column;
   its cell part is the same everywhere. No concatenation per point.
3. The hidden layers run for every tap (`liif`) or once per pixel (`light`). The taps of a block lie side
   by side in one array: few calls, each with much to do.
4. The last layer is linear: the hidden vectors are blended first, it is applied once.

`prepare` does 1 and 2 for a window, `render_block` the rest for some of its rows and columns: blocks
that may run on several threads at once. All of it can be differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liif_cli.nn.coords import AxisTaps, Grid, Whole, block_shape
from liif_cli.nn.decoders import Codes
from liif_cli.nn.model import Model

# On a CPU one vector of the first layer for each pixel of a block should take about so much. Every call
# of torch costs some microseconds, in which the other workers' Python waits: blocks of a core's cache
# are too small for that, and much larger ones leave it altogether. Products of matrices with more rows
# than these take longer for each.
_BLOCK_BYTES, _MATRIX_ROWS = 3 << 20, 1 << 14
# ... and its pixels on a GPU: enough to keep it busy, few enough to lie beside a tile.
_BUSY_PIXELS = 1 << 17
# Where torch has one thread, as in our workers, it takes oneDNN for batches from this size on only.
_ONEDNN_BATCH = 16

Lines = slice | Whole
"""Rows or columns of a window: a run of them, or any, by number."""


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Taps of the window along one axis; (T, N) each.

    index: which code of the tile, kept on the host, where blocks are cut.
    relative: 2 x offset; weight: the tap's share; both beside the codes.
    """

    index: Whole
    relative: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A window whose first layer is done per input pixel; `render_block` makes its pixels.

    picture:   (B, 3, h, w) what was encoded, values 0 to 1.
    first:     (B, h, w, K) first layer on the codes, with bias and cell.
    towards_y: (K,) what one unit of relative coordinate adds to it, downwards.
    columns:   (T, W, K) what each output column adds to it, for its taps.
    y, x:      taps of the decoder; skip_y, skip_x: of the bilinear copy, always both.
    """

    model: Model
    picture: Tensor
    grid: Grid
    first: Tensor
    towards_y: Tensor
    columns: Tensor
    y: _Axis
    x: _Axis
    skip_y: _Axis
    skip_x: _Axis


def prepare(model: Model, codes: Codes, grid: Grid) -> Prepared:
    """Steps 1 and 2 for a window. The codes must reach `spec.halo_px` beyond it or to the border."""
    if codes.full != (grid.in_height, grid.in_width):
        raise ValueError(f"codes of a {codes.full} input asked for a grid over {grid}")
    spec = model.spec.decoder
    layer = model.decoder.linears[0]
    window = 3 if spec.unfold else 1
    code = codes.feat.shape[1] * window * window
    weight = layer.weight
    kernel = weight[:, :code].reshape(-1, codes.feat.shape[1], window, window)
    bias: Tensor = layer.bias
    if spec.cell:
        cell = torch.tensor(grid.cell, dtype=weight.dtype, device=weight.device)
        bias = bias + weight[:, code + 2 : code + 4] @ (2 * cell)
    first = F.conv2d(codes.feat, kernel, bias, padding=window // 2).permute(0, 2, 3, 1)
    towards_y, towards_x = weight[:, code].to(first.dtype), weight[:, code + 1].to(first.dtype)
    rows, columns = grid.rows(), grid.columns()
    height, width = codes.feat.shape[2:]
    skip_y = _axis(rows, codes.top, height, weight)
    skip_x = _axis(columns, codes.left, width, weight)
    y = skip_y if spec.ensemble else _axis(rows.nearest(), codes.top, height, weight)
    x = skip_x if spec.ensemble else _axis(columns.nearest(), codes.left, width, weight)
    return Prepared(
        model=model,
        picture=codes.picture,
        grid=grid,
        first=first.contiguous(),
        towards_y=towards_y,
        columns=x.relative.to(first.dtype)[..., None] * towards_x,
        y=y,
        x=x,
        skip_y=skip_y,
        skip_x=skip_x,
    )


def render_grid(model: Model, codes: Codes, grid: Grid) -> Tensor:
    """The window of `grid`, (B, height, width, 3) float32, values about 0 to 1, not clamped."""
    prepared = prepare(model, codes, grid)
    out = codes.picture.new_empty((len(codes.feat), grid.height, grid.width, 3), dtype=torch.float32)
    for rows, columns in blocks(grid, block_pixels(model) // len(codes.feat)):
        out[:, rows, columns] = render_block(prepared, rows, columns)
    return out


def block_pixels(model: Model) -> int:
    """How many pixels make a good block."""
    weight, spec = model.decoder.linears[0].weight, model.spec.decoder
    if weight.device.type != "cpu":
        return _BUSY_PIXELS
    return min(_BLOCK_BYTES // weight[:, 0].nbytes, _MATRIX_ROWS // (spec.taps if spec.kind == "liif" else 1))


def blocks(grid: Grid, pixels: int) -> Iterator[tuple[slice, slice]]:
    """(rows, columns) of pieces of about so many pixels that cover the window, row by row."""
    down, across = block_shape(grid.height, grid.width, pixels)
    for row in range(0, grid.height, down):
        for column in range(0, grid.width, across):
            yield (
                slice(row, min(row + down, grid.height)),
                slice(column, min(column + across, grid.width)),
            )


def render_block(prepared: Prepared, rows: Lines, columns: Lines) -> Tensor:
    """Some rows and columns of the window, (B, rows, columns, 3) float32: the pixels where they cross.
    Steps 3 and 4."""
    layers = prepared.model.decoder.linears
    if prepared.model.spec.decoder.kind == "liif":
        blended = _blended(prepared, _hidden(_taps(prepared, rows, columns), layers[1:-1]), rows, columns)
        answer = _last(blended, layers[-1]) if len(layers) > 1 else blended.float()
        return answer * 0.5 + 0.5
    hidden = _hidden(_blended(prepared, _taps(prepared, rows, columns), rows, columns), layers[1:-1])
    return _last(hidden, layers[-1]) * 0.5 + _bilinear(prepared, rows, columns)


def _taps(p: Prepared, rows: Lines, columns: Lines) -> Tensor:
    """The first layer with its ReLU, for all taps side by side: (B, T * rows, T * columns, K)."""
    down, across = p.y.index[:, rows], p.x.index[:, columns]
    low, high = int(down.min()), int(down.max()) + 1
    # An input row serves many output rows: its columns are picked once for all of them.
    strip = p.first[:, low:high].index_select(2, _on(p.first, across.reshape(-1)))
    strip.add_(p.columns[:, columns].flatten(0, 1))
    towards = p.y.relative[:, rows, None].to(strip.dtype) * p.towards_y
    asked = strip.index_select(1, _on(strip, down.reshape(-1) - low)).add_(towards.flatten(0, 1)[:, None])
    return asked.relu_() if p.model.spec.decoder.hidden else asked


def _blended(p: Prepared, x: Tensor, rows: Lines, columns: Lines) -> Tensor:
    """What `_taps` made, or layers behind it, weighted and summed over the taps: (B, rows, columns, K)."""
    if not p.model.spec.decoder.ensemble:
        return x
    x = _between(x, 1, p.y.weight[1, rows, None, None])
    return _between(x, 2, p.x.weight[1, columns, None])


def _between(x: Tensor, axis: int, weight: Tensor) -> Tensor:
    """From the two halves of an axis, taps 0 and 1, the one vector; `weight` is that of the second."""
    first, second = x.unflatten(axis, (2, -1)).unbind(axis)  # type: ignore[no-untyped-call]
    return torch.lerp(first, second, weight.to(x.dtype))


def _hidden(x: Tensor, layers: list[nn.Linear]) -> Tensor:
    """Hidden layers with their ReLU, on the last axis."""
    for layer in layers:
        x = _linear(x, layer.weight, layer.bias).relu_()
    return x


def _last(x: Tensor, layer: nn.Linear) -> Tensor:
    """The last layer in float32: three numbers a pixel are cheap, and bf16 would show in them."""
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x.float(), layer.weight.float(), layer.bias.float())


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer on the last axis. On a CPU in float32 by oneDNN, reached through a 1x1 convolution:
    as fast as the library behind F.linear or, on processors that one does not know, twice (DESIGN.md)."""
    pixels = x.numel() // x.shape[-1]
    plain = x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if plain or pixels % _ONEDNN_BATCH:
        return F.linear(x, weight, bias)
    flat = x.reshape(_ONEDNN_BATCH, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # channels_last as it lies
    out = F.conv2d(flat, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _bilinear(p: Prepared, rows: Lines, columns: Lines) -> Tensor:
    """The picture itself, bilinearly: (B, rows, columns, 3) float32. Two products with matrices that are
    mostly zeros: what they cost is nothing beside picking three numbers at a time."""
    top, down = _shares(p.skip_y, rows)
    left, across = _shares(p.skip_x, columns)
    there = p.picture[:, :, top : top + down.shape[1], left : left + across.shape[1]]
    with torch.autocast(there.device.type, enabled=False):
        return (down @ (there.float() @ across.T)).permute(0, 2, 3, 1)


def _shares(axis: _Axis, lines: Lines) -> tuple[int, Tensor]:
    """(start, (N, n)): what share each of n input pixels from `start` on has in each of N lines."""
    index = axis.index[:, lines]
    start = int(index.min())
    shares = axis.weight.new_zeros(index.shape[1], int(index.max()) + 1 - start)
    return start, shares.scatter_add_(1, _on(shares, index.T - start), axis.weight[:, lines].T)


def _axis(taps: AxisTaps, start: int, size: int, like: Tensor) -> _Axis:
    """Taps beside `like`, for a tile that begins at `start` and is `size` long on this axis."""
    index = taps.index.T - start
    if not (index.min() >= 0 and index.max() < size):
        raise ValueError("the tile does not cover the window")
    return _Axis(
        index=index,
        relative=torch.from_numpy(2 * taps.offset.T).to(like.device, torch.float32).contiguous(),
        weight=torch.from_numpy(taps.weight.T).to(like.device, torch.float32).contiguous(),
    )


def _on(like: Tensor, index: Whole) -> Tensor:
    return torch.from_numpy(index).to(like.device)
