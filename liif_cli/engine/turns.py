"""The eight flips and turns of a picture, and where things lie after them. For self-ensemble (TTA)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy.typing as npt

from liif_cli.engine.plan import Tile
from liif_cli.nn.coords import Grid


@dataclass(frozen=True)
class Turn:
    """First flipped top to bottom, left to right, then transposed."""

    flip_y: bool = False
    flip_x: bool = False
    transpose: bool = False

    def view(self, planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The turned picture as a view of `planes` (B, h, w, c)."""
        planes = planes[:, ::-1] if self.flip_y else planes
        planes = planes[:, :, ::-1] if self.flip_x else planes
        return planes.swapaxes(1, 2) if self.transpose else planes

    def grid(self, grid: Grid) -> Grid:
        """The same pixels of the turned picture."""
        top = grid.out_height - grid.top - grid.height if self.flip_y else grid.top
        left = grid.out_width - grid.left - grid.width if self.flip_x else grid.left
        if not self.transpose:
            return replace(grid, top=top, left=left)
        return replace(
            grid,
            in_height=grid.in_width,
            in_width=grid.in_height,
            out_height=grid.out_width,
            out_width=grid.out_height,
            top=left,
            left=top,
            height=grid.width,
            width=grid.height,
        )

    def corner(self, tile: Tile, grid: Grid) -> tuple[int, int]:
        """(top, left) of the tile's input in the turned input."""
        top = grid.in_height - tile.in_top - tile.in_height if self.flip_y else tile.in_top
        left = grid.in_width - tile.in_left - tile.in_width if self.flip_x else tile.in_left
        return (left, top) if self.transpose else (top, left)


UPRIGHT = Turn()
ALL = tuple(Turn(*flags) for flags in product((False, True), repeat=3))
