"""The state of a run on disk: one safetensors file, replaced whole or not at all. No pickle.

`python -m liif_cli.train.checkpoint RUN FILE.safetensors` writes what is needed to go on elsewhere.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from liif_cli.errors import TrainingError


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts (JSON) to `path`: to a temporary name first, then renamed.

    Raises TrainingError if the disk is full or not writable; what stood at `path` stays then.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(whole, part, metadata={"liif.run": json.dumps(facts)})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        kept = f"the last checkpoint, {path}, is intact" if path.exists() else "there is no checkpoint yet"
        raise TrainingError(f"{path}: the checkpoint cannot be written: {error}", hint=kept) from error
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save` wrote. Raises TrainingError if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["liif.run"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: no checkpoint of a run: {error}") from error


def is_state(path: Path) -> bool:
    """Whether a file is the state of a run (and not weights, or nothing of ours)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return "liif.run" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def slim(run: Path, path: Path) -> None:
    """The state of a run, small enough to be handed on: weights and mean weights in float16, no moments.

    `liif train --init PATH` goes on from it.
    """
    tensors, facts = load(run / "checkpoint.safetensors")
    kept = {n: t.half() for n, t in tensors.items() if n.startswith(("model.", "mean."))}
    save(path, kept, facts)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


if __name__ == "__main__":
    # python -m liif_cli.train.checkpoint RUN FILE.safetensors
    slim(Path(sys.argv[1]), Path(sys.argv[2]))
