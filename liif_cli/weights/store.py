"""Our weights files: safetensors with the spec as one JSON string in the header.

The header is read here, byte by byte within narrow bounds and without torch, so that a list of
weights is quick and a hostile file is found out before anything is allocated for it. The tensors
are read by the safetensors library, and only after names, shapes and dtypes fit the spec.
Layout (safetensors 0.x): 8 bytes little-endian length of the header, the header (JSON), the data.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from liif_cli.errors import WeightsError
from liif_cli.nn.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

SPEC_KEY = "liif.spec"
HEADER_LIMIT_BYTES = 1 << 20  # RDN, the largest model we know, needs 60 KB
FILE_LIMIT_BYTES = 4 << 30

_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_FOREIGN = (
    "the file is safetensors, but not of this program; `liif weights convert` reads official .pth files"
)


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor as the header tells it; `start` and `stop` are bytes from the beginning of the data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """What can be known of a weights file without torch."""

    spec: ModelSpec
    metadata: Mapping[str, str]
    tensors: Mapping[str, TensorInfo]

    @property
    def parameters(self) -> int:
        """Count of numbers in the file."""
        return sum(prod(tensor.shape) for tensor in self.tensors.values())


def read_spec(path: Path) -> ModelSpec:
    """The spec in the header of `path`. No torch. Raises WeightsError."""
    return read_header(path).spec


def read_header(path: Path) -> Header:
    """The header of `path`, with every claim it makes about the data checked. No torch.

    Raises WeightsError: no such file, not safetensors, truncated, or without a spec of ours.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                _damaged(path, "it is shorter than its header says")
            if length > HEADER_LIMIT_BYTES or size > FILE_LIMIT_BYTES:
                _damaged(path, f"its header claims {length} bytes of {size}, more than any model needs")
            text = file.read(length)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from error
    try:
        metadata, tensors = parse_header(text, size - 8 - length)
    except ValueError as error:
        _damaged(path, str(error))
    if SPEC_KEY not in metadata:
        raise WeightsError(f"{path}: no model spec in the header", hint=_FOREIGN)
    try:
        spec = ModelSpec.from_json(metadata[SPEC_KEY])
    except ValueError as error:
        hint = "it was damaged, or written by a newer version of this program"
        raise WeightsError(f"{path}: the model spec is not understood: {error}", hint=hint) from error
    return Header(spec=spec, metadata=metadata, tensors=tensors)


def parse_header(text: bytes, data_bytes: int) -> tuple[dict[str, str], dict[str, TensorInfo]]:
    """Metadata and tensors of a safetensors header over `data_bytes` of data.

    The tensors must cover the data without holes and overlaps. Raises ValueError on anything odd.
    """
    try:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors, as are whole numbers of 5,000 digits.
        outer = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    if not isinstance(outer, dict):
        raise ValueError("its header is not an object")
    metadata = outer.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is not a table of strings")
    tensors = {name: _tensor_info(name, entry) for name, entry in outer.items()}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != end:
            raise ValueError(f"tensor {name!r} does not begin where the one before it ends")
        end = tensor.stop
    if end != data_bytes:
        raise ValueError(f"its tensors need {end} bytes, and {data_bytes} are there")
    return metadata, tensors


def _tensor_info(name: str, entry: Any) -> TensorInfo:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise ValueError(f"tensor {name!r} is of type {dtype!r}, not one of {', '.join(_BYTES)}")
    if not _whole_numbers(shape) or len(shape) > 8:
        raise ValueError(f"tensor {name!r} has no usable shape")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has no usable place")
    if offsets[1] - offsets[0] != prod(shape) * _BYTES[dtype]:
        raise ValueError(f"tensor {name!r} does not take the bytes its shape needs")
    return TensorInfo(dtype=dtype, shape=tuple(shape), start=offsets[0], stop=offsets[1])


def _whole_numbers(values: Any) -> bool:
    # `type(...) is int`: true and false are ints to Python, but not to safetensors.
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers disagree on which of two equal names counts, so there must not be two.
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice in its header")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"its header contains {name}")


def read(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Spec and tensors, the tensors as float32 in memory of their own, whatever is on disk.

    Raises WeightsError where `read_header` does, and if the tensors do not fit the spec or hold
    values that are not finite.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    header = read_header(path)
    check_fit(header.spec, {name: tensor.shape for name, tensor in header.tensors.items()}, str(path))
    try:
        with safe_open(path, framework="pt") as file:
            # A copy: what is only mapped would change, or crash us, when the file does.
            tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in header.tensors}
    except (SafetensorError, OSError) as error:
        _damaged(path, str(error))
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            _damaged(path, f"tensor {name!r} holds values that are not finite")
    return header.spec, tensors


def check_fit(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]], whose: str) -> None:
    """Raise WeightsError unless `shapes` are exactly the names and shapes of the model of `spec`."""
    import torch

    from liif_cli.nn.model import build

    # Every layer has at least one tensor, so a spec with more layers than there are tensors is not
    # worth being built: a hundred bytes of header could ask for 65,000 convolutions.
    layers = spec.encoder.depth * max(spec.encoder.layers, 1) + len(spec.decoder.hidden)
    if layers > len(shapes):
        raise WeightsError(f"{whose}: the tensors do not fit the spec: it has more layers than tensors")
    with torch.device("meta"):  # names and shapes, no memory
        expected = {name: tuple(tensor.shape) for name, tensor in build(spec).state_dict().items()}
    for name in [*sorted(expected.keys() - shapes.keys()), *sorted(shapes.keys() - expected.keys())]:
        what = "is missing" if name in expected else "has no place in the model"
        raise WeightsError(f"{whose}: the tensors do not fit the spec: {name!r} {what}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise WeightsError(
                f"{whose}: the tensors do not fit the spec: {name!r} is {_by(shapes[name])}, not {_by(shape)}"
            )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def write(
    path: Path, spec: ModelSpec, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a weights file, whole or not at all; dtypes (float32, float16, bfloat16) as given.

    The same arguments give the same bytes. Raises WeightsError if the tensors do not fit the spec,
    or the file cannot be written.
    """
    check_fit(spec, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, str(path))
    data = pack(tensors, {**(metadata or {}), SPEC_KEY: spec.to_json()})
    # A short name of its own: a long stem has no room for a suffix.
    temporary = path.with_name(f".liif-{secrets.token_hex(6)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from error


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file."""
    from safetensors.torch import save

    plain = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    packed = save(plain, metadata=dict(metadata))
    # The library writes the metadata in random order; sorted, equal weights are equal files.
    length = int.from_bytes(packed[:8], "little")
    header = json.dumps(json.loads(packed[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + packed[8 + length :]


def _damaged(path: Path, why: str) -> NoReturn:
    raise WeightsError(f"{path}: not a sound weights file: {why}", hint="fetch or copy it once more")
