"""Finished rows on their way from the device to the host.

On a CPU they are there already. A GPU works through what it is told while the host goes on telling:
asking for rows at once would stop both after every block. So each block is copied into pinned memory
behind the work that makes it, and taken from there while the next one is being made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]

# Blocks under way: one that is being made, one that is being copied.
_UNDER_WAY = 2


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A block that is on its way. event: when it has arrived, None if it has."""

    rows: Tensor
    finite: Tensor
    event: torch.cuda.Event | None
    put: Callable[[Array], None]


class Landing:
    """Takes blocks of one tile, in order, and hands each on when it has arrived. For one thread.

    behind: let blocks arrive while others are made; default on CUDA.
    """

    def __init__(self, device: torch.device, *, behind: bool | None = None) -> None:
        self._behind = device.type == "cuda" if behind is None else behind
        self._copies: deque[_Copy] = deque()

    def bring(self, rows: Tensor, finite: Tensor, put: Callable[[Array], None]) -> None:
        """`put` gets `rows` on the host, now or later.

        finite: a truth value beside `rows`: whether the numbers they came from were. Where it is false,
        FloatingPointError is raised instead, here or by a later call.
        """
        if not self._behind:
            _hand_on(rows.cpu(), finite, put)
            return
        event = torch.cuda.Event() if rows.is_cuda else None  # type: ignore[no-untyped-call]
        there = [_pinned(rows), _pinned(finite)]
        if event is not None:
            event.record()
        self._copies.append(_Copy(rows=there[0], finite=there[1], event=event, put=put))
        if len(self._copies) == _UNDER_WAY:
            self._next()

    def finish(self) -> None:
        """Wait for what is still under way."""
        while self._copies:
            self._next()

    def _next(self) -> None:
        copy = self._copies.popleft()
        if copy.event is not None:
            copy.event.synchronize()
        _hand_on(copy.rows, copy.finite, copy.put)


def _pinned(tensor: Tensor) -> Tensor:
    """A copy on the host that need not be there yet. torch keeps pinned blocks and uses them again."""
    there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return there.copy_(tensor, non_blocking=True)


def _hand_on(rows: Tensor, finite: Tensor, put: Callable[[Array], None]) -> None:
    if not bool(finite):
        raise FloatingPointError
    put(rows.numpy())
