"""Enlarging a picture piece by piece, so that memory is bounded however large it is."""

from collections.abc import Callable
from itertools import product

import torch
from einops import rearrange
from torch import Tensor

Enlarge = Callable[[Tensor], Tensor]
"""[1, C, h, w] to [1, C', scale * h, scale * w]."""


def enlarge_by_tiles(
    image: Tensor,
    enlarge: Enlarge,
    scale: int,
    *,
    tile: int,
    overlap: int,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Pictures [B, H, W, C] enlarged `scale` times in tiles of at most tile x tile pixels.

    Neighbouring tiles share `overlap` pixels, over which one passes into the other evenly. on_tile: told after each
    tile how many of how many are done. Besides the result, only one tile is in memory at a time.
    """
    batch, height, width = image.shape[:3]
    rows, columns = _spans(height, tile, overlap), _spans(width, tile, overlap)
    down, across = _weights(rows, overlap * scale, scale), _weights(columns, overlap * scale, scale)
    places = list(product(range(batch), range(len(rows)), range(len(columns))))
    result: Tensor | None = None
    for done, (number, row, column) in enumerate(places, start=1):
        (top, bottom), (left, right) = rows[row], columns[column]
        piece = rearrange(image[number : number + 1, top:bottom, left:right], "b h w c -> b c h w")
        enlarged = rearrange(enlarge(piece), "1 c h w -> h w c")
        if result is None:
            result = torch.zeros(batch, height * scale, width * scale, enlarged.shape[-1])
        place = result[number, top * scale : bottom * scale, left * scale : right * scale]
        place += enlarged * down[row][:, None, None] * across[column][:, None]
        on_tile(done, len(places))
    assert result is not None
    return result


def _spans(size: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where the tiles along one side begin and end."""
    if size <= tile:
        return [(0, size)]
    return [(start, min(start + tile, size)) for start in range(0, size - overlap, tile - overlap)]


def _weights(spans: list[tuple[int, int]], feather: int, scale: int) -> list[Tensor]:
    """For each span the share it has in each of its pixels, once enlarged; over all spans they sum to 1."""
    ramps = [_ramp((end - start) * scale, feather) for start, end in spans]
    total = torch.zeros(spans[-1][1] * scale)
    for (start, end), ramp in zip(spans, ramps, strict=True):
        total[start * scale : end * scale] += ramp
    return [
        ramp / total[start * scale : end * scale] for (start, end), ramp in zip(spans, ramps, strict=True)
    ]


def _ramp(size: int, feather: int) -> Tensor:
    """Rising from 1 / feather to 1, level, and falling again; level all over when there is no room for it."""
    if feather >= size:
        return torch.ones(size)
    place = torch.arange(1, size + 1)
    rise = (place / max(feather, 1)).clamp(max=1)
    return rise * rise.flip(0)
