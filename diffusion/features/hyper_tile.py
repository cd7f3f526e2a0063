"""HyperTile: self-attention within tiles, so that its cost grows as the picture does, not its square (tfernd 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from diffusion.config import LATENT_DOWNSCALE
from diffusion.networks.attachments import Call, Hooks, SelfAttend, Spot

_SMALLEST = 32
"""Pixels; tiles are not made smaller."""


@dataclass(frozen=True)
class HyperTile:
    """An attachment. tile_size: in pixels, the least that a tile's side is where the picture can be divided so.

    swap_size: among how many ways to divide a side one is drawn for each layer, so that no seam stays. max_depth: up
    to which level, 0 for the finest alone. scale_depth: whether a tile's side has twice as many cells at each deeper
    level, in place of as many.
    """

    tile_size: int = 256
    swap_size: int = 2
    max_depth: int = 0
    scale_depth: bool = False

    def __post_init__(self) -> None:
        if self.tile_size < 1 or self.swap_size < 1 or self.max_depth < 0:
            raise ValueError(
                "tile_size and swap_size are 1 at least and max_depth is 0 at least; got "
                f"{self.tile_size}, {self.swap_size} and {self.max_depth}."
            )

    def begin(self) -> Callable[[Call], Hooks]:
        # The same divisions in every run.
        random = torch.Generator().manual_seed(0)

        def hooks(call: Call) -> Hooks:
            height, width = call.x.shape[-2:]
            depths = {
                (-(-height // 2**depth), -(-width // 2**depth)): depth for depth in range(self.max_depth + 1)
            }

            def around(attend: SelfAttend, tokens: Tensor, spot: Spot) -> Tensor:
                depth = depths.get(spot.size)
                if depth is None or tokens.shape[1] != math.prod(spot.size):  # others merged some of them
                    return attend(tokens)
                return self._tiled(attend, tokens, spot.size, depth, random)

            return Hooks(self_attention=(around,))

        return hooks

    def _tiled(
        self, attend: SelfAttend, tokens: Tensor, size: tuple[int, int], depth: int, random: torch.Generator
    ) -> Tensor:
        height, width = size
        least = max(_SMALLEST, self.tile_size) // LATENT_DOWNSCALE * (2**depth if self.scale_depth else 1)
        down = drawn_division(height, least, self.swap_size, random)
        across = drawn_division(width, least, self.swap_size, random)
        if down * across == 1:
            return attend(tokens)
        cut = {"nh": down, "nw": across, "h": height // down, "w": width // across}
        tiles = rearrange(tokens, "b (nh h nw w) c -> (b nh nw) (h w) c", **cut)
        return rearrange(attend(tiles), "(b nh nw) (h w) c -> b (nh h nw w) c", **cut)


def drawn_division(side: int, least: int, options: int, random: torch.Generator) -> int:
    """Into how many equal parts to divide a side: one of the `options` finest ways with parts of `least` or more."""
    least = min(least, side)
    parts = [part for part in range(least, side + 1) if side % part == 0][:options]
    return side // parts[int(torch.randint(len(parts), (1,), generator=random))]
