"""Where the network runs: device, precision, and how much memory it may use.

`place` answers from what the user said and what the machine has; `self_check` finds out whether a
lower precision is fast and good enough here, with the very model that shall run.
"""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, get_args

from liif_cli import __version__
from liif_cli.errors import DeviceError, UsageError, nearest
from liif_cli.home import home

if TYPE_CHECKING:
    from torch import Tensor

    from liif_cli.nn.model import Model

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
WORDS = {dtype: word for word, dtype in _DTYPES.items()}
"""What `--precision` calls a dtype."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# What a lower precision must reach against float32 to be chosen by `auto`: a picture cannot show it.
CHECK_DB = 55.0
# ... and how much faster it must be to be worth it.
_CHECK_GAIN = 1.1
# What is tried, and the side of the picture it is tried with: a GPU is busy only with a larger one.
_LOWER = {"cpu": ("bfloat16",), "mps": ("float16",), "cuda": ("float16", "bfloat16")}
_PROBE_PX = {"cpu": 48, "mps": 192, "cuda": 256}
# How often at most, and for how many seconds.
_PROBES, _PROBE_S = 12, 0.3
# Findings that are kept.
_REMEMBERED = 64


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how the network runs.

    device: "cpu", "cuda:1", "mps". dtype: "float32", "bfloat16", "float16".
    budget_bytes: what one render may hold at once. because: why this, for --verbose.
    """

    device: str
    dtype: str
    budget_bytes: int
    because: str


def place(
    device: str = "auto",
    precision: str = "auto",
    memory: int | str | None = None,
    *,
    model: Model | None = None,
) -> Placement:
    """Device, precision and budget for this machine.

    memory: bytes, "800M", "4G" or "50%" of what is free; default half of what is free.
    model:  what `precision="auto"` is tried with; without a model it means float32.
    Raises UsageError for words that are none, DeviceError for a device that is not there.
    """
    check_words(device, precision, memory)
    where = _device(device)
    if precision == "fp16" and where == "cpu":
        raise UsageError(
            "--precision fp16 on a CPU: a hundred times slower than fp32", hint="take bf16 or fp32 on a CPU"
        )
    if precision == "bf16" and where == "cpu" and not _bf16_pays():
        # torch would widen whole layers, several at a time, which no budget knows of.
        raise DeviceError(
            "--precision bf16: torch has no fast way to compute in it on this processor; fp32 is faster",
            hint="take fp32, or auto, which finds out",
        )
    budget = budget_bytes(memory, free_bytes(where))
    asked = Placement(
        device=where,
        dtype=_DTYPES.get(precision, "float32"),
        budget_bytes=budget,
        because=f"{precision} as asked" if precision != "auto" else "float32, not tried otherwise",
    )
    return self_check(model, asked) if precision == "auto" and model is not None else asked


def check_words(device: str, precision: str, memory: int | str | None) -> None:
    """Raise UsageError for words that mean nothing on any machine. Does without torch."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
        hint = nearest(device, ("auto", "cpu", "cuda", "mps"), otherwise="auto, cpu, cuda, cuda:1 or mps")
        raise UsageError(f"--device {device}: unknown", hint=hint)
    if precision not in PRECISIONS:
        hint = nearest(precision, PRECISIONS, otherwise=f"one of {', '.join(PRECISIONS)}")
        raise UsageError(f"--precision {precision}: unknown", hint=hint)
    budget_bytes(memory, 0)


def budget_bytes(memory: int | str | None, free: int) -> int:
    """`--memory` in bytes. Raises UsageError."""
    if memory is None:
        return free // 2
    if isinstance(memory, int):
        return memory
    found = re.fullmatch(
        r"(\d{1,9}(?:\.\d{1,9})?)\s*(?:([KMGT]?)(?:i?B)?|(%))", memory.strip(), re.IGNORECASE | re.ASCII
    )
    number = float(found[1]) if found else 0.0
    if not found or number <= 0 or (found[3] and number > 100):
        raise UsageError(f"--memory {memory}: not a size", hint="write 800M, 4G, or 50% of what is free")
    return int(free * number / 100) if found[3] else int(number * _UNITS[found[2].upper()])


def self_check(model: Model, placement: Placement) -> Placement:
    """`placement` with the fastest precision that is as good as float32 to the eye on this device.

    Found out once for a model, a device and a version of torch, and remembered in the cache folder.
    """
    key = _key(model, placement.device)
    known = _remembered()
    dtype, because = known.get(key) or _tried(model, placement.device)
    if key not in known:
        _remember({**known, key: (dtype, because)})
    return replace(placement, dtype=dtype, because=because)


def _tried(model: Model, device: str) -> tuple[str, str]:
    """(dtype, why) after running a small picture in all precisions that may be worth it."""
    import torch

    best, best_s, because = "float32", math.inf, ""
    said = []
    with torch.inference_mode():
        exact_s, exact = _probe(model, device, "float32")
        for lower in _LOWER[device.partition(":")[0]]:
            try:
                lower_s, rough = _probe(model, device, lower)
            except RuntimeError as error:  # an operation that this device does not have in this precision
                said.append(f"{lower} does not run here ({error})")
                continue
            mse = float(((exact - rough) ** 2).mean())
            decibel = 99.0 if mse == 0 else -10 * torch.tensor(mse).log10().item()
            said.append(f"{lower}: {decibel:.0f} dB from float32, {exact_s / lower_s:.1f} times as fast")
            # NaN compares false.
            if decibel >= CHECK_DB and lower_s * _CHECK_GAIN < exact_s and lower_s < best_s:
                best, best_s, because = lower, lower_s, said[-1]
    return best, because or f"float32; {'; '.join(said)}"


def _probe(model: Model, device: str, dtype: str) -> tuple[float, Tensor]:
    """Seconds and result of a picture at x2 that is soon done, however slow a precision is here."""
    import torch

    from liif_cli.nn.coords import Grid
    from liif_cli.nn.grid import render_grid

    side = _PROBE_PX[device.partition(":")[0]]
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    waves = [0.5 + 0.5 * torch.sin(a * x + b * y * y) for a, b in ((9, 40), (30, -7), (-60, 20))]
    picture = torch.stack(waves)[None].to(device)
    there = moved(model, device, dtype)
    whole = Grid.whole(side, side, 2 * side, 2 * side)
    times: list[float] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers run; and no operation waits for a core that is busy otherwise
    try:
        # The first is for warming up; of short ones there are more, lest a busy moment decide for good.
        while len(times) < 3 or (len(times) < _PROBES and sum(times) < _PROBE_S):
            start = perf_counter()
            out = render_grid(there, there.encode(picture), whole).cpu()
            times.append(perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return min(times[1:]), out


def _key(model: Model, device: str) -> str:
    """What a finding holds for: this processor or card, this torch, this program, these weights."""
    import hashlib
    import platform

    import torch

    digest = hashlib.blake2b(digest_size=12)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    digest.update(model.spec.to_json().encode())
    if device.startswith("cuda"):
        where = torch.cuda.get_device_name(device)
    else:
        found = _read(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)")
        where = f"{found or platform.processor() or platform.machine()} {torch.get_num_threads()}"
    return f"{where}, torch {torch.__version__}, liif {__version__}, {digest.hexdigest()}"


def _remembered() -> dict[str, tuple[str, str]]:
    try:
        found = json.loads(_memory().read_text("utf-8"))
        return {str(key): (str(dtype), str(because)) for key, (dtype, because) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(findings: dict[str, tuple[str, str]]) -> None:
    """Keep the newest findings. Whoever cannot write there finds out again each time."""
    kept = dict(list(findings.items())[-_REMEMBERED:])
    path = _memory()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(kept, indent=1), "utf-8")
        temporary.replace(path)


def _memory() -> Path:
    return home() / "precision.json"


def moved(model: Model, device: str, dtype: str) -> Model:
    """A copy of `model` on the device, ready to answer; convolutions in the order that runs fastest."""
    import copy

    import torch

    if device.startswith("cuda"):
        # In convolutions torch would take TF32 for float32, with 10 bits of its mantissa: 1e-3 is no 1e-5.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    there = copy.deepcopy(model).to(device, getattr(torch, dtype)).eval().requires_grad_(False)
    for parameter in there.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return there


def free_bytes(device: str = "cpu") -> int:
    """Memory that is free on the device, in bytes; on a CPU also what limits this process."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return min(found for way in (_meminfo, _cgroup, _sysconf) if (found := way()))


def _bf16_pays() -> bool:
    """Whether torch's library for CPUs, which not all of its builds have, multiplies in bf16 here."""
    import torch

    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _device(name: str) -> str:
    """`name` if it is there; `auto` means CUDA, MPS or CPU."""
    import torch

    if name == "cpu":
        return name
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = [
        *(f"cuda:{i}" for i in range(cuda)),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    wanted = {"auto": there[0], "cuda": "cuda:0"}.get(name, name)
    if wanted not in there:
        hint = f"torch {torch.__version__} finds: {', '.join(there)}"
        raise DeviceError(f"--device {name}: not on this machine", hint=hint)
    return wanted


def _meminfo() -> int | None:
    """Linux: what can be had without swapping."""
    found = _read(Path("/proc/meminfo"), r"MemAvailable:\s+(\d+) kB")
    return int(found) << 10 if found else None


def _cgroup() -> int | None:
    """Linux: what a container may still take."""
    root = Path("/sys/fs/cgroup")
    limit, used = _read(root / "memory.max", r"(\d+)"), _read(root / "memory.current", r"(\d+)")
    return max(int(limit) - int(used), 1) if limit and used else None


def _sysconf() -> int | None:
    """Elsewhere: half of all memory, a careful guess of what is free."""
    if Path("/proc/meminfo").exists():
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 << 30


def _read(path: Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None
