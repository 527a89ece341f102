"""`ModelSpec`: what a model is made of. Halo, size and cost follow from it; torch is not needed.

The spec is what a weights file carries in its header, as one JSON string, and what `build` in
`nn/model.py` makes a network from. Costs are counted in multiply-adds by the exact fast way of
`nn/grid.py`: per input pixel (encoder and first decoder layer) and per output pixel (the rest).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

EncoderKind = Literal["edsr", "rdn", "compact"]
DecoderKind = Literal["liif", "light"]

_MAX_WIDTH = 4096
_MAX_DEPTH = 256


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The encoder: picture (3, h, w) -> codes (width, h, w), at the same size.

    kind:   `edsr` (EDSR-baseline, arXiv 1707.02921, without its upsampler), `rdn` (RDN "B", arXiv
            1802.08797), `compact` (plain residual 3x3 convolutions, ours).
    width:  channels of the codes (and of every layer but the dense ones of rdn).
    depth:  edsr: residual blocks of two convolutions; rdn: dense blocks; compact: convolutions
            between the first and the last.
    layers: rdn: convolutions in a dense block, each of growth `width`; else 0.
    """

    kind: EncoderKind
    width: int
    depth: int
    layers: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("edsr", "rdn", "compact"):
            raise ValueError(f"unknown encoder kind {self.kind!r}")
        _check_whole("encoder width", self.width, 1, _MAX_WIDTH)
        _check_whole("encoder depth", self.depth, 1, _MAX_DEPTH)
        _check_whole("encoder layers", self.layers, 1 if self.kind == "rdn" else 0, _MAX_DEPTH)

    @property
    def radius_px(self) -> int:
        """Receptive radius: how far, in input pixels, a code can see."""
        if self.kind == "edsr":
            return 1 + 2 * self.depth + 1
        if self.kind == "rdn":
            return 2 + self.depth * self.layers + 1
        return 1 + self.depth

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per input pixel."""
        n = self.width
        if self.kind == "edsr":
            return 9 * (3 * n + (2 * self.depth + 1) * n * n)
        if self.kind == "rdn":
            dense = sum(9 * n * (i + 1) * n for i in range(self.layers)) + (self.layers + 1) * n * n
            return 9 * (3 * n + 2 * n * n) + self.depth * (dense + n * n)
        return 9 * (3 * n + self.depth * n * n)


@dataclass(frozen=True, kw_only=True)
class DecoderSpec:
    """The decoder: codes around a point -> colour (LIIF, arXiv 2012.09161, section 3).

    kind:     `liif`: one MLP asked for each tap, the answers blended (the paper's).
              `light`: the taps are blended behind the first layer's ReLU, one small MLP follows, and
              its answer is added to a bilinear copy of the input (ours).
    hidden:   widths of the hidden layers; empty: one linear layer, `liif` only.
    unfold:   feature unfolding: a code comes with its eight neighbours (eq. 3).
    ensemble: local ensemble of the four nearest codes (eq. 4); off: the nearest code alone.
    cell:     the decoder is told the size of the asked-for pixel (eq. 5).
    """

    kind: DecoderKind
    hidden: tuple[int, ...]
    unfold: bool = True
    ensemble: bool = True
    cell: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("liif", "light"):
            raise ValueError(f"unknown decoder kind {self.kind!r}")
        if self.kind == "light" and not self.hidden:
            raise ValueError("the light decoder needs at least one hidden layer")
        if len(self.hidden) > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} hidden layers")
        for width in self.hidden:
            _check_whole("hidden width", width, 1, _MAX_WIDTH)

    @property
    def radius_px(self) -> int:
        """How far, in input pixels, an answer reaches beyond the codes around its point."""
        return 1 if self.unfold else 0

    @property
    def taps(self) -> int:
        """Codes asked per point."""
        return 4 if self.ensemble else 1


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Encoder and decoder of one model, as the header of its weights file says it."""

    encoder: EncoderSpec
    decoder: DecoderSpec

    @property
    def halo_px(self) -> int:
        """Input pixels a tile needs around it: receptive radius, unfolding, the second tap."""
        return self.encoder.radius_px + self.decoder.radius_px + 1

    @property
    def first_layer(self) -> int:
        """Width of the decoder's first layer: channels that are kept per input pixel."""
        return self.decoder.hidden[0] if self.decoder.hidden else 3

    @property
    def multiply_adds_per_input_pixel(self) -> int:
        """Encoder, and the first decoder layer's part that acts on codes (LIIF.md 3, step 1)."""
        window = 9 if self.decoder.unfold else 1
        return self.encoder.multiply_adds + window * self.encoder.width * self.first_layer

    @property
    def multiply_adds_per_output_pixel(self) -> int:
        """The decoder behind its first layer (LIIF.md 3, steps 3 and 4)."""
        widths = self.decoder.hidden
        between = sum(a * b for a, b in pairwise(widths))
        last = 3 * widths[-1] if widths else 0
        asked = self.decoder.taps if self.decoder.kind == "liif" else 1
        return asked * between + last

    def to_json(self) -> str:
        """The spec as one JSON string; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote. Raises ValueError on anything else."""
        try:
            outer = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"the spec is not JSON: {error}") from error
        encoder = _fields(_part(outer, "encoder"), {"kind", "width", "depth", "layers"}, {"layers"})
        switches = {"unfold", "ensemble", "cell"}
        decoder = _fields(_part(outer, "decoder"), {"kind", "hidden"} | switches, switches)
        if not isinstance(decoder["hidden"], list):
            raise ValueError("decoder.hidden is not a list")
        for switch in switches & decoder.keys():
            if not isinstance(decoder[switch], bool):
                raise ValueError(f"decoder.{switch} is not true or false")
        return cls(
            encoder=EncoderSpec(**encoder),
            decoder=DecoderSpec(**{**decoder, "hidden": tuple(decoder["hidden"])}),
        )


def _part(outer: Any, name: str) -> dict[str, Any]:
    if not isinstance(outer, dict) or set(outer) != {"encoder", "decoder"}:
        raise ValueError("the spec has no encoder and decoder, or more than these")
    part = outer[name]
    if not isinstance(part, dict):
        raise ValueError(f"{name} is not an object")
    return part


def _fields(part: dict[str, Any], known: set[str], optional: set[str]) -> dict[str, Any]:
    odd = sorted(set(part) - known) or sorted(known - optional - set(part))
    if odd:
        raise ValueError(f"unexpected or missing field {odd[0]!r}")
    return part


def _check_whole(what: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{what} must be a whole number from {low} to {high}, not {value!r}")
