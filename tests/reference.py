"""LIIF's formulas in float64, written from the paper (arXiv 2012.09161) without looking at speed.

Independent of `liif_cli.nn`: nothing is imported from it, coordinates are fractions, convolutions are
sums over shifted pictures. Weights come as a dict of float64 arrays by the names of a state dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = Mapping[str, Array]


def conv(x: Array, kernel: Array, bias: Array) -> Array:
    """(C, h, w) -> (D, h, w): cross-correlation with zeros beyond the border."""
    reach = kernel.shape[2] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    out = np.zeros((len(kernel), *x.shape[1:]))
    for row in range(kernel.shape[2]):
        for column in range(kernel.shape[3]):
            shifted = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
            out += np.einsum("dc,chw->dhw", kernel[:, :, row, column], shifted)
    return out + bias[:, None, None]


def edsr(x: Array, w: Weights, depth: int) -> Array:
    """EDSR-baseline's body on values -1 to 1."""
    head = _layer(x, w, "head")
    feat = head
    for i in range(depth):
        hidden = np.maximum(_layer(feat, w, f"body.{i}.0"), 0)
        feat = feat + _layer(hidden, w, f"body.{i}.2")
    return _layer(feat, w, "tail") + head


def rdn(x: Array, w: Weights, depth: int, layers: int) -> Array:
    """RDN's body on values -1 to 1."""
    head = _layer(x, w, "head")
    feat = _layer(head, w, "second")
    outputs = []
    for i in range(depth):
        dense = feat
        for j in range(layers):
            new = np.maximum(_layer(dense, w, f"blocks.{i}.convs.{j}"), 0)
            dense = np.concatenate([dense, new])
        feat = feat + _layer(dense, w, f"blocks.{i}.fuse")
        outputs.append(feat)
    return _layer(_layer(np.concatenate(outputs), w, "fuse"), w, "tail") + head


def compact(x: Array, w: Weights, depth: int) -> Array:
    """Plain residual convolutions on values -1 to 1."""
    feat = _layer(x, w, "head")
    for i in range(depth):
        feat = feat + _layer(np.maximum(feat, 0), w, f"body.{i}")
    return feat


def _layer(x: Array, w: Weights, name: str) -> Array:
    return conv(x, w[f"encoder.{name}.weight"], w[f"encoder.{name}.bias"])


def centre(i: int, size_in: int, size_out: int) -> Fraction:
    """Where output pixel i lies, in input pixels: its centre in [0, 1], stretched, minus half a pixel."""
    return Fraction(2 * i + 1, 2 * size_out) * size_in - Fraction(1, 2)


def corners(u: Fraction, size: int, ensemble: bool) -> list[tuple[int, Fraction, Fraction]]:
    """(code, offset, weight) of the codes asked along one axis; the paper's Figure 2, one axis of it."""
    below = u.numerator // u.denominator
    if not ensemble:
        nearest = below if u - below < Fraction(1, 2) else below + 1
        code = min(max(nearest, 0), size - 1)
        return [(code, u - code, Fraction(1))]
    codes = [min(max(k, 0), size - 1) for k in (below, below + 1)]
    if codes[0] == codes[1]:
        return [(codes[0], u - codes[0], Fraction(1))]
    # eq. 4: a corner weighs as much as the side opposite to it is long
    sides = [abs(u - codes[1]), abs(u - codes[0])]
    return [(k, u - k, side / sum(sides)) for k, side in zip(codes, sides, strict=True)]


def unfolded(feat: Array) -> Array:
    """eq. 3: (C, h, w) -> (9 C, h, w), channel c * 9 + row * 3 + column, zeros beyond the border."""
    c, h, w = feat.shape
    padded = np.pad(feat, ((0, 0), (1, 1), (1, 1)))
    near = [padded[:, r : r + h, s : s + w] for r in range(3) for s in range(3)]
    return np.stack(near, 1).reshape(9 * c, h, w)


def render(
    feat: Array,
    picture: Array,
    w: Weights,
    size: tuple[int, int],
    *,
    kind: str,
    unfold: bool = True,
    ensemble: bool = True,
    cell: bool = True,
) -> Array:
    """Every pixel of an output of `size` (H, W) from codes (C, h, w) and the picture (3, h, w), values
    0 to 1: (H, W, 3), one pixel after the other."""
    height, width = size
    _, h, v = feat.shape
    codes = unfolded(feat) if unfold else feat
    out = np.empty((height, width, 3))
    for i in range(height):
        for j in range(width):
            y, x = centre(i, h, height), centre(j, v, width)
            out[i, j] = _pixel(codes, picture, w, (y, x), (h / height, v / width), kind, ensemble, cell)
    return out


def _pixel(
    codes: Array,
    picture: Array,
    w: Weights,
    at: tuple[Fraction, Fraction],
    size: tuple[float, float],
    kind: str,
    ensemble: bool,
    cell: bool,
) -> Array:
    _, h, v = codes.shape
    answers = []
    for ky, dy, wy in corners(at[0], h, ensemble):
        for kx, dx, wx in corners(at[1], v, ensemble):
            asked = [codes[:, ky, kx], np.array([2 * float(dy), 2 * float(dx)])]
            if cell:
                asked.append(2 * np.array(size))
            answers.append((float(wy * wx), np.concatenate(asked)))
    layers = [(w[f"decoder.layers.{n}.weight"], w[f"decoder.layers.{n}.bias"]) for n in range(_count(w))]
    if kind == "liif":
        total = sum(share * _mlp(asked, layers) for share, asked in answers)
        return np.asarray(total) * 0.5 + 0.5
    matrix, bias = layers[0]
    blended = sum(share * np.maximum(matrix @ asked + bias, 0) for share, asked in answers)
    copy = np.zeros(3)
    for ky, _, wy in corners(at[0], h, True):
        for kx, _, wx in corners(at[1], v, True):
            copy += float(wy * wx) * picture[:, ky, kx]
    return _mlp(np.asarray(blended), layers[1:]) * 0.5 + copy


def _count(w: Weights) -> int:
    return sum(name.startswith("decoder.layers.") and name.endswith(".bias") for name in w)


def _mlp(x: Array, layers: list[tuple[Array, Array]]) -> Array:
    for matrix, bias in layers[:-1]:
        x = np.maximum(matrix @ x + bias, 0)
    matrix, bias = layers[-1]
    return np.asarray(matrix @ x + bias)
