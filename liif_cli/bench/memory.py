"""The most memory that runs hold above the loaded program."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from liif_cli import machine


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What the loaded program holds, from where its peak is counted; on a GPU, what it holds there."""

    device: str
    held_bytes: int

    @classmethod
    def start(cls, device: str) -> Watch | None:
        """Begin to watch; None if the system has no mark that can be set back."""
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            return cls(device=device, held_bytes=torch.cuda.memory_allocated(device))
        # What earlier runs left to the allocator would be held before, and not be missing in the peak.
        machine.give_back()
        held = machine.resident_bytes()
        return cls(device=device, held_bytes=held) if held and machine.forget_peak() else None

    def peak_bytes(self) -> int:
        """The most that was held above that since."""
        if self.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self.device) - self.held_bytes
        return max(0, (machine.peak_bytes() or 0) - self.held_bytes)
