"""Checkpoints of the official LIIF code (`.pth`) → our spec and tensors, by names and shapes.

The only place that opens a pickle, and only with `torch.load(weights_only=True)`, which makes
tensors and plain containers and runs nothing. A checkpoint is {"model": {"name", "args", "sd"}, ...}
with optimiser state beside it, or a bare table of tensors. Kind and widths are read from names and
shapes; `args` is asked only for what shapes cannot tell: the local ensemble and EDSR's `res_scale`.
Every tensor must find its place: half-understood weights would give pictures that are half right.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liif_cli.errors import WeightsError
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.weights import store

if TYPE_CHECKING:
    from torch import Tensor

FILE_LIMIT_BYTES = 2 << 30  # rdn-liif.pth, with its optimiser state, has 256 MB

# In the official files, unused by the official code: it works on values around 0 already.
_UNUSED = re.compile(r"encoder\.(sub|add)_mean\.(weight|bias)")
_KNOWN = "LIIF checkpoints with an EDSR or RDN encoder are understood, as the official code writes them"


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A foreign checkpoint in our words. `notes`: what had to be assumed, a line each."""

    spec: ModelSpec
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def convert(source: Path, target: Path, metadata: Mapping[str, str] | None = None) -> Converted:
    """Read the checkpoint `source` and write it as the weights file `target`, whole or not at all.

    Raises WeightsError: not there, damaged, holding more than tensors, or of unknown structure.
    """
    converted = read(source)
    store.write(target, converted.spec, converted.tensors, metadata)
    return converted


def read(path: Path) -> Converted:
    """What the checkpoint `path` holds, as float32. Raises WeightsError as `convert` does."""
    size = _check_size(path)
    try:
        return understand(_load(path), size)
    except ValueError as error:
        raise WeightsError(f"{path}: unknown structure: {error}", hint=_KNOWN) from error


def _check_size(path: Path) -> int:
    """Bytes of the file, and of what a zip says it unpacks to: neither may be beyond all models."""
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
    except (OSError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise WeightsError(f"{path}: {reason}") from error
    if size > FILE_LIMIT_BYTES:
        raise WeightsError(f"{path}: {size} bytes are more than any checkpoint of this kind holds")
    return size


def _load(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # what is amiss is told below, in our words
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything at all, MemoryError included
        found = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and found:
            raise WeightsError(
                f"{path}: not trusted: it asks to run {found[1]!r}, which was not done",
                hint="a checkpoint needs nothing but tensors; get it from its authors",
            ) from error
        raise WeightsError(
            f"{path}: not a readable torch checkpoint (damaged, truncated or something else)",
            hint="fetch or copy it once more",
        ) from error


def understand(checkpoint: Any, size: int) -> Converted:
    """Spec and tensors of a loaded checkpoint, from a file of `size` bytes. Raises ValueError."""
    state, args = _state_and_args(checkpoint)
    # A view can claim any size over a few bytes: copying it would fill the memory.
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise ValueError("its tensors are larger than the file")
    rest = {name: tensor for name, tensor in state.items() if not _UNUSED.fullmatch(name)}
    notes: list[str] = []
    encoder, tensors = _encoder(rest, args, notes)
    decoder, layers = _decoder(rest, encoder.width, args, notes)
    if rest:
        raise ValueError(f"nobody here knows the tensor {min(rest)!r}")
    return Converted(
        spec=ModelSpec(encoder=encoder, decoder=decoder),
        tensors={
            name: tensor.detach().float().contiguous() for name, tensor in {**tensors, **layers}.items()
        },
        notes=tuple(notes),
    )


def _state_and_args(checkpoint: Any) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors by name, and the arguments the model was built with if the file tells."""
    import torch

    model = checkpoint.get("model", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(model, dict):
        raise ValueError("it is no table of tensors")
    if "sd" in model and model.get("name", "liif") != "liif":
        raise ValueError(f"its model is called {model['name']!r}, not 'liif'")
    args = model.get("args") if "sd" in model else None
    state = model.get("sd", model)
    if not isinstance(state, dict) or not state or not all(isinstance(name, str) for name in state):
        raise ValueError("it is no table of tensors")
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise ValueError(f"{name!r} is no tensor of real numbers")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"{name!r} is no plain tensor")
    return dict(state), args if isinstance(args, dict) else None


def _encoder(
    rest: dict[str, Tensor], args: dict[str, Any] | None, notes: list[str]
) -> tuple[EncoderSpec, dict[str, Tensor]]:
    if "encoder.head.0.weight" in rest:
        return _edsr(rest, args, notes)
    if "encoder.SFENet1.weight" in rest:
        return _rdn(rest)
    raise ValueError("its encoder is neither EDSR nor RDN")


def _edsr(
    rest: dict[str, Tensor], args: dict[str, Any] | None, notes: list[str]
) -> tuple[EncoderSpec, dict[str, Tensor]]:
    """encoder.head.0, encoder.body.N.body.{0,2}, and encoder.body.DEPTH behind them."""
    if any(name.startswith("encoder.tail.") for name in rest):
        raise ValueError("its EDSR encoder has an upsampler, so its codes do not lie one to a pixel")
    depth = _count(rest, "encoder.body.{}.body.0.weight")
    places = {"encoder.head.0": "head", f"encoder.body.{depth}": "tail"}
    for n in range(depth):
        for part in (0, 2):
            places[f"encoder.body.{n}.body.{part}"] = f"body.{n}.{part}"
    tensors = _take(rest, places, "encoder.")
    spec = EncoderSpec(kind="edsr", width=_width(tensors, "encoder.head.weight"), depth=depth)
    if (scale := _res_scale(args, spec.width, notes)) != 1:
        # x + s (W h + b) = x + (s W) h + s b: the factor of a block goes into its last layer.
        for n in range(depth):
            for kind in ("weight", "bias"):
                tensors[f"encoder.body.{n}.2.{kind}"] = tensors[f"encoder.body.{n}.2.{kind}"] * scale
    return spec, tensors


def _res_scale(args: dict[str, Any] | None, width: int, notes: list[str]) -> float:
    """What the official EDSR multiplies its residual blocks by: 1 in the baseline, 0.1 in the large one."""
    said = _path(args, "encoder_spec")
    scale = _path(said, "args", "res_scale")
    if scale is None:
        kind = _path(said, "name")
        if kind is None and width != 64:
            notes.append("EDSR's res_scale is not told by the file: taken as 1, the baseline's")
        scale = 0.1 if kind == "edsr" else 1
    if not isinstance(scale, int | float) or not 0 < scale <= 1:
        raise ValueError(f"its res_scale is {scale!r}")
    return float(scale)


def _rdn(rest: dict[str, Tensor]) -> tuple[EncoderSpec, dict[str, Tensor]]:
    """encoder.SFENet{1,2}, encoder.RDBs.N.convs.M.conv.0, encoder.RDBs.N.LFF, encoder.GFF.{0,1}."""
    depth = _count(rest, "encoder.RDBs.{}.LFF.weight")
    layers = _count(rest, "encoder.RDBs.0.convs.{}.conv.0.weight")
    places = {
        "encoder.SFENet1": "head",
        "encoder.SFENet2": "second",
        "encoder.GFF.0": "fuse",
        "encoder.GFF.1": "tail",
    }
    for n in range(depth):
        places[f"encoder.RDBs.{n}.LFF"] = f"blocks.{n}.fuse"
        for m in range(layers):
            places[f"encoder.RDBs.{n}.convs.{m}.conv.0"] = f"blocks.{n}.convs.{m}"
    if any(name.startswith("encoder.UPNet.") for name in rest):
        raise ValueError("its RDN encoder has an upsampler, so its codes do not lie one to a pixel")
    tensors = _take(rest, places, "encoder.")
    width = _width(tensors, "encoder.head.weight")
    growth = _width(tensors, "encoder.blocks.0.convs.0.weight")
    if growth != width:
        raise ValueError(
            f"its RDN has width {width} and growth {growth}; only equal ones are built here (RDN 'B')"
        )
    return EncoderSpec(kind="rdn", width=width, depth=depth, layers=layers), tensors


def _decoder(
    rest: dict[str, Tensor], width: int, args: dict[str, Any] | None, notes: list[str]
) -> tuple[DecoderSpec, dict[str, Tensor]]:
    """imnet.layers.{0,2,4,...}: linear layers, ReLU between them."""
    count = _count(rest, "imnet.layers.{}.weight", step=2)
    tensors = _take(rest, {f"imnet.layers.{2 * k}": f"layers.{k}" for k in range(count)}, "decoder.")
    weights = [tensors[f"decoder.layers.{k}.weight"] for k in range(count)]
    if not weights or any(weight.ndim != 2 for weight in weights):
        raise ValueError("its decoder is no MLP")
    if len(weights[-1]) != 3:
        raise ValueError(f"its decoder answers with {len(weights[-1])} values, not with a colour")
    # Inputs: code, or nine of them; relative coordinate (2); relative cell (2).
    inputs = weights[0].shape[1]
    fitting = [
        (unfold, cell)
        for unfold in (True, False)
        for cell in (True, False)
        if inputs == width * (9 if unfold else 1) + 2 + (2 if cell else 0)
    ]
    if not fitting:
        raise ValueError(f"its decoder takes {inputs} inputs, which fits no code of width {width}")
    unfold, cell = fitting[0]
    for key, found in (("feat_unfold", unfold), ("cell_decode", cell)):
        if args is not None and bool(args.get(key, True)) != found:
            raise ValueError(f"{key} is {args.get(key, True)} in its arguments and {found} in its shapes")
    ensemble = True if args is None else bool(args.get("local_ensemble", True))
    if args is None:
        notes.append("the file does not tell its local ensemble: taken as on")
    hidden = tuple(len(weight) for weight in weights[:-1])
    return (
        DecoderSpec(kind="liif", hidden=hidden, unfold=unfold, ensemble=ensemble, cell=cell),
        tensors,
    )


def _take(rest: dict[str, Tensor], places: Mapping[str, str], prefix: str) -> dict[str, Tensor]:
    """Move weight and bias of each layer out of `rest`, to the names of our model."""
    taken: dict[str, Tensor] = {}
    for theirs, ours in places.items():
        for kind in ("weight", "bias"):
            if f"{theirs}.{kind}" not in rest:
                raise ValueError(f"{theirs}.{kind} is missing")
            taken[f"{prefix}{ours}.{kind}"] = rest.pop(f"{theirs}.{kind}")
    return taken


def _count(rest: Mapping[str, Tensor], pattern: str, *, step: int = 1) -> int:
    """How many names of the pattern there are, counting from 0 in steps, without a gap."""

    def names() -> Iterator[str]:
        number = 0
        while (name := pattern.format(number)) in rest:
            yield name
            number += step

    return sum(1 for _ in names())


def _width(tensors: Mapping[str, Tensor], name: str) -> int:
    return len(tensors[name]) if tensors[name].ndim else 0


def _path(table: Any, *keys: str) -> Any:
    """The value behind the keys, or None where one of them is not there."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table
