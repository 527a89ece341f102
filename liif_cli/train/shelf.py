"""Room for tensors that stay for the whole run.

Small pieces that stay, allocated between large ones that come and go with every step, tear the heap: a
round of 2,200 steps with 1 GB of samples held 7 GB. In blocks of their own they take what they need.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

_BLOCK_BYTES, _ALIGNED = 64 << 20, 64


class Shelf:
    """Copies of tensors, side by side in large blocks. Safe to use from several threads at once.

    A block goes when the last of its copies does.
    """

    def __init__(self) -> None:
        self._block = torch.empty(0, dtype=torch.uint8)
        self._used = 0
        self._lock = threading.Lock()

    def copy(self, tensor: Tensor) -> Tensor:
        """The same numbers, lying in the same order of axes, on the CPU."""
        size = tensor.nbytes
        with self._lock:
            if self._used + size > len(self._block):
                self._block, self._used = torch.empty(max(size, _BLOCK_BYTES), dtype=torch.uint8), 0
            place = self._block[self._used : self._used + size].view(tensor.dtype)
            self._used += -(-size // _ALIGNED) * _ALIGNED
        strides = torch.empty_like(tensor, device="meta").stride()  # without the holes of a view
        there = place.as_strided(tensor.shape, strides, place.storage_offset())
        return there.copy_(tensor.detach())
