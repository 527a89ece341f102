"""Checkpoints as the official code writes them, with random weights, and what its encoders compute.

Written from the papers' figures and the published files' names, independently of `liif_cli.nn`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def edsr(width: int = 8, depth: int = 2) -> State:
    """EDSR-baseline without upsampler, with the mean shifts it never uses."""
    state = {
        "encoder.sub_mean.weight": torch.eye(3).view(3, 3, 1, 1),
        "encoder.sub_mean.bias": torch.zeros(3),
        "encoder.add_mean.weight": torch.eye(3).view(3, 3, 1, 1),
        "encoder.add_mean.bias": torch.zeros(3),
    }
    state |= _conv("encoder.head.0", 3, width)
    for n in range(depth):
        state |= _conv(f"encoder.body.{n}.body.0", width, width)
        state |= _conv(f"encoder.body.{n}.body.2", width, width)
    return state | _conv(f"encoder.body.{depth}", width, width)


def edsr_codes(state: State, picture: Tensor, depth: int, res_scale: float = 1) -> Tensor:
    """(B, width, h, w) for a picture (B, 3, h, w) with values about -1 to 1."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, state[f"encoder.{name}.weight"], state[f"encoder.{name}.bias"], padding=1)

    head = conv("head.0", picture)
    x = head
    for n in range(depth):
        x = x + res_scale * conv(f"body.{n}.body.2", F.relu(conv(f"body.{n}.body.0", x)))
    return conv(f"body.{depth}", x) + head


def rdn(width: int = 8, depth: int = 3, layers: int = 2, growth: int | None = None) -> State:
    """RDN without upsampler: `depth` dense blocks of `layers` convolutions."""
    growth = growth or width
    state = _conv("encoder.SFENet1", 3, width) | _conv("encoder.SFENet2", width, width)
    for n in range(depth):
        for m in range(layers):
            state |= _conv(f"encoder.RDBs.{n}.convs.{m}.conv.0", width + m * growth, growth)
        state |= _conv(f"encoder.RDBs.{n}.LFF", width + layers * growth, width, 1)
    return state | _conv("encoder.GFF.0", depth * width, width, 1) | _conv("encoder.GFF.1", width, width)


def rdn_codes(state: State, picture: Tensor, depth: int, layers: int) -> Tensor:
    """As `edsr_codes`."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"encoder.{name}.weight"]
        return F.conv2d(x, weight, state[f"encoder.{name}.bias"], padding=weight.shape[-1] // 2)

    shallow = conv("SFENet1", picture)
    x = conv("SFENet2", shallow)
    outputs = []
    for n in range(depth):
        dense = [x]
        for m in range(layers):
            dense.append(F.relu(conv(f"RDBs.{n}.convs.{m}.conv.0", torch.cat(dense, 1))))
        x = conv(f"RDBs.{n}.LFF", torch.cat(dense, 1)) + x
        outputs.append(x)
    return conv("GFF.1", conv("GFF.0", torch.cat(outputs, 1))) + shallow


def imnet(inputs: int, hidden: tuple[int, ...] = (12, 10)) -> State:
    """The decoder: linear layers at even places, ReLU between."""
    state: State = {}
    for k, (a, b) in enumerate(zip((inputs, *hidden), (*hidden, 3), strict=True)):
        state[f"imnet.layers.{2 * k}.weight"] = torch.randn(b, a) * a**-0.5
        state[f"imnet.layers.{2 * k}.bias"] = torch.randn(b) * 0.1
    return state


def inputs(width: int, *, unfold: bool = True, cell: bool = True) -> int:
    """Inputs of the first layer: codes, relative coordinate, relative cell."""
    return width * (9 if unfold else 1) + 2 + (2 if cell else 0)


def checkpoint(state: State, encoder: str = "edsr-baseline", **args: Any) -> dict[str, Any]:
    """The whole of a file: the model beside optimiser state and epoch."""
    spec = {"encoder_spec": {"name": encoder, "args": {"no_upsampling": True}}, "imnet_spec": {"name": "mlp"}}
    momenta = {n: {"step": 7, "exp_avg": torch.zeros_like(t)} for n, t in enumerate(state.values())}
    return {
        "model": {"name": "liif", "args": {**spec, **args}, "sd": state},
        "optimizer": {"name": "adam", "args": {"lr": 1e-4}, "sd": {"state": momenta, "param_groups": []}},
        "epoch": 1000,
    }


def _conv(name: str, channels_in: int, channels_out: int, size: int = 3) -> State:
    weight = torch.randn(channels_out, channels_in, size, size) * (channels_in * size * size) ** -0.5
    return {f"{name}.weight": weight, f"{name}.bias": torch.randn(channels_out) * 0.1}
