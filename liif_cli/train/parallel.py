"""Where a run computes: this process's device and threads, and the other processes under torchrun."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import distributed as dist
from torch.nn import functional as F

from liif_cli.engine.device import place


@dataclass(frozen=True, kw_only=True)
class Place:
    """Device of this process, cores it may use, and whether it is the one that writes and prints."""

    device: str
    cores: int
    first: bool

    def shards(self, threads: int | None) -> int:
        """Worker threads that share a step: one a core on a CPU, one on a GPU."""
        return (threads or self.cores) if self.device == "cpu" else 1


@contextmanager
def processes(device: str) -> Iterator[Place]:
    """Join the processes that torchrun has started, if any; each takes its own GPU.

    Raises DeviceError or UsageError for a device that is not there.
    """
    cores = torch.get_num_threads()
    # The workers are the parallelism. Threads inside operations would only wait for each other, and
    # beside a busy process each wait costs a time slice.
    torch.set_num_threads(1)
    try:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield Place(device=place(device, "fp32").device, cores=cores, first=True)
            return
        local = int(os.environ["LOCAL_RANK"])
        wanted = f"cuda:{local}" if device == "auto" and torch.cuda.is_available() else device
        own = place(wanted, "fp32").device
        dist.init_process_group("nccl" if own.startswith("cuda") else "gloo")
        try:
            yield Place(device=own, cores=cores, first=dist.get_rank() == 0)
        finally:
            dist.destroy_process_group()
    finally:
        torch.set_num_threads(cores)


def faster_precision(device: str) -> Literal["fp32", "bf16"]:
    """bf16 where it is really faster: some machines have it and are slower for it, so it is tried."""

    def seconds(dtype: torch.dtype) -> float:
        x = torch.rand(4, 64, 48, 48, dtype=dtype, device=device).to(memory_format=torch.channels_last)
        kernel = torch.rand(64, 64, 3, 3, dtype=dtype, device=device)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            F.conv2d(x, kernel, padding=1).sum().item()
            times.append(time.perf_counter() - start)
        return median(times[1:])

    try:
        return "bf16" if seconds(torch.bfloat16) * 1.2 < seconds(torch.float32) else "fp32"
    except RuntimeError:  # no such operation on this device
        return "fp32"
