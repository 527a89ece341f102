"""Encoders: a picture becomes codes, one per input pixel. Sizes stay; zeros lie beyond the border.

All take (B, 3, h, w) with values about -1 to 1 and give (B, width, h, w). How far a code sees is
`EncoderSpec.radius_px`; a test pokes single pixels to hold the two together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liif_cli.nn.spec import EncoderSpec


def build_encoder(spec: EncoderSpec) -> nn.Module:
    """The network of `spec`, with torch's default random weights."""
    match spec.kind:
        case "edsr":
            return Edsr(spec)
        case "rdn":
            return Rdn(spec)
        case "compact":
            return Compact(spec)


class Edsr(nn.Module):
    """EDSR-baseline without upsampler (Lim et al., arXiv 1707.02921): residual blocks, one long skip."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        n = spec.width
        self.head = _conv(3, n)
        self.body = nn.ModuleList(
            nn.Sequential(_conv(n, n), nn.ReLU(inplace=True), _conv(n, n)) for _ in range(spec.depth)
        )
        self.tail = _conv(n, n)

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        body = head
        for block in self.body:
            body = block(body).add_(body)
        out: Tensor = self.tail(body).add_(head)
        return out


class Rdn(nn.Module):
    """RDN without upsampler (Zhang et al., arXiv 1802.08797): dense blocks, fused globally."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        n = spec.width
        self.head = _conv(3, n)
        self.second = _conv(n, n)
        self.blocks = nn.ModuleList(_DenseBlock(n, spec.layers) for _ in range(spec.depth))
        self.fuse = nn.Conv2d(spec.depth * n, n, 1)
        self.tail = _conv(n, n)

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        feat = self.second(head)
        feats = []
        for block in self.blocks:
            feat = block(feat)
            feats.append(feat)
        out: Tensor = self.tail(self.fuse(torch.cat(feats, 1))) + head
        return out


class _DenseBlock(nn.Module):
    """Each convolution sees all before it; a 1x1 convolution fuses them; a skip around."""

    def __init__(self, n: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv((i + 1) * n, n) for i in range(layers))
        self.fuse = nn.Conv2d((layers + 1) * n, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for conv in self.convs:
            seen = torch.cat([seen, F.relu(conv(seen))], 1)
        out: Tensor = self.fuse(seen) + x
        return out


class Compact(nn.Module):
    """Plain residual 3x3 convolutions, one ReLU each: few passes over memory, few parameters."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        n = spec.width
        self.head = _conv(3, n)
        self.body = nn.ModuleList(_conv(n, n) for _ in range(spec.depth))

    def forward(self, x: Tensor) -> Tensor:
        feat: Tensor = self.head(x)
        for conv in self.body:
            feat = conv(F.relu(feat)).add_(feat)
        return feat


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)
