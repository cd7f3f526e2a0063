"""A picture in overlapping tiles: where they lie, and how what is computed of each becomes one picture again.

A cell is what both sides are whole multiples of: a latent's pixel, 8 x 8 of the picture's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """Square tiles of `side` cells, each sharing at least `overlap` of them with the next.

    Raises ValueError for tiles of nothing, and where less than half of a tile would be its own.
    """

    side: int
    overlap: int

    def __post_init__(self) -> None:
        if self.side < 1 or not 0 <= 2 * self.overlap <= self.side:
            raise ValueError(
                f"tiles of {self.side} cells that overlap by {self.overlap} do not work: the overlap can be half of "
                "a tile at most"
            )

    def starts(self, size: int) -> list[int]:
        """Where the tiles begin along an axis of `size` cells: evenly spread, the first and last at its ends."""
        if size <= self.side:
            return [0]
        count = math.ceil((size - self.overlap) / (self.side - self.overlap))
        return [round(number * (size - self.side) / (count - 1)) for number in range(count)]


def in_tiles(
    source: Tensor, compute: Callable[[Tensor], Tensor], tiling: Tiling, *, source_cell: int, result_cell: int
) -> Tensor:
    """What `compute` makes of `source` [B, C, h, w], tile by tile, as [B, C', h', w'] float32 on the CPU.

    Neighbours fade into each other over the overlap, linearly, in proportions that add up to one. source_cell,
    result_cell: how many pixels of either a cell is wide.
    """
    height, width = (size // source_cell for size in source.shape[-2:])
    total = shares = torch.zeros(())
    for top in tiling.starts(height):
        for left in tiling.starts(width):
            down, across = (
                slice(first, min(first + tiling.side, size)) for first, size in ((top, height), (left, width))
            )
            made = compute(source[..., _scaled(down, source_cell), _scaled(across, source_cell)])
            if total.ndim == 0:
                total = torch.zeros(*made.shape[:2], height * result_cell, width * result_cell)
                shares = torch.zeros(height * result_cell, width * result_cell)
            share = _share(down, height, result_cell, tiling.overlap)[:, None] * _share(
                across, width, result_cell, tiling.overlap
            )
            place = (..., _scaled(down, result_cell), _scaled(across, result_cell))
            total[place] += made.to("cpu", torch.float32) * share
            shares[place] += share
    return total.div_(shares)


def _scaled(cells: slice, width: int) -> slice:
    return slice(cells.start * width, cells.stop * width)


def _share(place: slice, whole: int, cell: int, overlap: int) -> Tensor:
    """A tile's part in each of its pixels, along one axis of `whole` cells, before all parts are made to add up to one:
    rising over the overlap at either end, but not where the picture ends.
    """
    size = (place.stop - place.start) * cell
    fade = overlap * cell
    share = torch.ones(size)
    rising = (torch.arange(fade, dtype=torch.float32) + 0.5) / max(fade, 1)
    if place.start > 0:
        share[:fade] *= rising
    if place.stop < whole:
        share[size - fade :] *= rising.flip(0)
    return share
