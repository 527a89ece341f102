"""Where a network can run here, in which precision, and whether it computes rightly there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from liif_cli import machine
from liif_cli.engine.device import WORDS, Placement, free_bytes, moved, place
from liif_cli.errors import LiifError

if TYPE_CHECKING:
    from liif_cli.nn.model import Model

# A device's float32 may be rounded to 10 bits on the way (TF32); a wrong kernel is far beyond that.
_APART = 0.02
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True)
class Device:
    """name: as `--device` takes it. budget_bytes: what computing takes unless `--memory` says otherwise.

    precision: what `--precision auto` takes with the default model, because: why; empty if that is not
    here to be tried with.
    """

    name: str
    what: str
    threads: int
    free_bytes: int = 0
    budget_bytes: int = 0
    precision: str = ""
    because: str = ""
    fault: str = ""


def devices(model: Model | None) -> list[Device]:
    """Every device torch finds, the CPU first."""
    import torch

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [device(name, model) for name in names]


def device(name: str, model: Model | None) -> Device:
    """One device, tried with `model` if there is one."""
    import torch

    threads = torch.get_num_threads() if name == "cpu" else 1
    what = "Apple GPU" if name == "mps" else machine.cpu_name()
    try:
        if name.startswith("cuda"):
            what = torch.cuda.get_device_name(name)
        placement = place(name, "auto", model=model)
        return Device(
            name=name,
            what=what,
            threads=threads,
            free_bytes=free_bytes(name),
            budget_bytes=placement.budget_bytes,
            precision=WORDS[placement.dtype] if model else "",
            because=placement.because if model else "",
            fault=_fault(model, placement) if model else "",
        )
    except LiifError as error:
        return Device(name=name, what=what, threads=threads, fault=str(error))
    except Exception as error:  # drivers, kernels: torch passes on whatever they say
        reason = (str(error).strip().splitlines() or [""])[0]
        return Device(name=name, what=what, threads=threads, fault=f"{type(error).__name__}: {reason}")


def overlooked_gpu() -> bool:
    """Whether there is an NVIDIA GPU that this torch was not built for."""
    import torch

    built = torch.version.cuda or getattr(torch.version, "hip", None)
    return not built and (_DRIVER.exists() or bool(shutil.which("nvidia-smi")))


def _fault(model: Model, placement: Placement) -> str:
    """What is wrong with the values that a small picture gets there; empty if nothing is."""
    import torch

    from liif_cli.nn.coords import Grid
    from liif_cli.nn.grid import render_grid

    picture = torch.linspace(0, 1, 3 * 16 * 16).sin().abs().view(1, 3, 16, 16)
    answers = []
    with torch.inference_mode():
        for where in ("cpu", placement.device):
            there = moved(model, where, "float32")
            codes = there.encode(picture.to(where))
            answers.append(render_grid(there, codes, Grid.whole(16, 16, 24, 24)).cpu())
    if not bool(torch.isfinite(answers[1]).all()):
        return "it computes values that are no numbers"
    apart = float((answers[0] - answers[1]).abs().max())
    return f"it computes values {apart:.2f} away from those of the CPU" if apart > _APART else ""
