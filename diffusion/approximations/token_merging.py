"""Token merging for self-attention: tokens that are alike attend as one (Bolya and Hoffman 2023, "Token Merging for
Fast Stable Diffusion", section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks.attachments import Call, Hooks, SelfAttend, Spot

CELL = 2
"""Of every square of CELL x CELL tokens one may be merged into; the others may be merged away."""


@dataclass(frozen=True)
class Merging:
    """Which merged token each token belongs to. groups: [B * N], rows of the merged batch [B * M, C]. size: B * M."""

    groups: Tensor
    batch: int
    size: int

    def merge(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, C] to the means of groups, [B, M, C]."""
        flat = tokens.flatten(0, 1).float()
        sums = flat.new_zeros(self.size, flat.shape[1]).index_add_(0, self.groups, flat)
        counts = torch.bincount(self.groups, minlength=self.size)
        return (sums / counts[:, None]).to(tokens.dtype).unflatten(0, (self.batch, -1))

    def unmerge(self, merged: Tensor) -> Tensor:
        """[B, M, C] to [B, N, C]: every token gets its group's."""
        return merged.flatten(0, 1).index_select(0, self.groups).unflatten(0, (self.batch, -1))


@dataclass(frozen=True)
class TokenMerging:
    """An attachment that merges tokens before self-attention and copies the result back to each after it.

    ratio: the share of the tokens that is merged away, 0..1 (not more than three quarters can be). max_downsample: the
    coarsest level it applies to, as how many times smaller than the latent it is: 1, 2, 4 or 8.
    """

    ratio: float
    max_downsample: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"The share of tokens to merge lies within 0..1; got {self.ratio}.")
        if self.max_downsample < 1:
            raise ValueError(f"The latent is 1 time smaller than itself at least; got {self.max_downsample}.")

    def begin(self) -> Callable[[Call], Hooks]:
        # Where tokens may be merged into is drawn anew for every call, which leaves no pattern in the picture, and the
        # same way in every run.
        random = torch.Generator().manual_seed(0)
        return lambda call: self._hooks(call, random)

    def _hooks(self, call: Call, random: torch.Generator) -> Hooks:
        smallest = -(-call.x.shape[-2] // self.max_downsample)

        def around(attend: SelfAttend, tokens: Tensor, spot: Spot) -> Tensor:
            in_tiles = tokens.shape[1] != spot.size[0] * spot.size[1]
            if spot.size[0] < smallest or in_tiles:
                return attend(tokens)
            merging = match(tokens, spot.size, self.ratio, random)
            return attend(tokens) if merging is None else merging.unmerge(attend(merging.merge(tokens)))

        return Hooks(self_attention=(around,))


def match(tokens: Tensor, size: tuple[int, int], ratio: float, random: torch.Generator) -> Merging | None:
    """Merges the int(ratio * N) tokens [B, N, C] of a picture of this (height, width) that are most like another one.

    None when there are none to merge. A token is merged into the one most like it, by the angle between them, of those
    that may be merged into: one in every CELL x CELL, chosen by `random`.
    """
    batch, count, _ = tokens.shape
    goals, sources = _partition(size, random)
    merged_away = min(int(count * ratio), len(sources))
    if merged_away == 0 or len(goals) == 0:
        return None
    goals, sources = goals.to(tokens.device), sources.to(tokens.device)
    directions = F.normalize(tokens, dim=-1)
    likeness, best = (directions[:, sources] @ directions[:, goals].mT).max(dim=-1)  # [B, sources]
    order = likeness.argsort(dim=-1, descending=True, stable=True)
    away, stay = order[:, :merged_away], order[:, merged_away:]
    # Merged tokens: first those that may be merged into, then the sources that stay.
    groups = tokens.new_empty((batch, count), dtype=torch.long)
    groups[:, goals] = torch.arange(len(goals), device=tokens.device)
    groups.scatter_(1, sources[away], best.gather(1, away))
    staying = len(goals) + torch.arange(stay.shape[1], device=tokens.device)
    groups.scatter_(1, sources[stay], staying.expand(batch, -1))
    left = count - merged_away
    groups += left * torch.arange(batch, device=tokens.device)[:, None]
    return Merging(groups.flatten(), batch, batch * left)


def _partition(size: tuple[int, int], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """The places of tokens that may be merged into, one in every whole cell, and of all others."""
    height, width = size
    rows, columns = height // CELL, width // CELL
    chosen = torch.randint(CELL * CELL, (rows, columns), generator=random)
    down = torch.arange(rows)[:, None] * CELL + chosen // CELL
    across = torch.arange(columns)[None] * CELL + chosen % CELL
    goals = (down * width + across).flatten()
    others = torch.ones(height * width, dtype=torch.bool)
    others[goals] = False
    return goals, others.nonzero().flatten()
