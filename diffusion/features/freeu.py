"""FreeU: more of what the UNet's backbone says, less of the coarse part of its skip connections (Si et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.config import UNetConfig
from diffusion.networks.attachments import Call, Hooks, Place

_LOWEST = 1
"""Frequencies up to this, exclusive above and inclusive below 0, are the coarse part."""


@dataclass(frozen=True)
class Scales:
    """backbone: of the first half of what comes from below. skip: of the coarse part of the skip connection."""

    backbone: float
    skip: float


@dataclass(frozen=True, eq=False)
class FreeU:
    """An attachment. scales: by the output stage; None where nothing is scaled.

    by_structure: the backbone's scale goes from 1 to the whole where the mean of its features goes from its least to
    its greatest (the second version, in the paper's final form), in place of the same everywhere.
    """

    scales: tuple[Scales | None, ...]
    by_structure: bool = False

    @classmethod
    def of(cls, config: UNetConfig, coarse: Scales, fine: Scales, *, by_structure: bool = False) -> FreeU:
        """coarse: where what comes from below is a quarter of the latent's size or less; fine: where it is half.

        In Stable Diffusion 1.x these are the stages where it is four times and twice as wide as at the finest level, by
        which the published code tells them. Raises ValueError for a UNet that has neither.
        """
        levels, stages = len(config.channels), config.blocks + 1
        below = [levels - 1 - max(stage - 1, 0) // stages for stage in range(levels * stages)]
        if levels < 2:
            raise ValueError(
                "FreeU works where a UNet's picture is smaller than the latent, and in this one it never is."
            )
        return cls(tuple((None, fine)[level] if level < 2 else coarse for level in below), by_structure)

    def begin(self) -> Callable[[Call], Hooks]:
        hooks = Hooks(join=(self._join,))
        return lambda call: hooks

    def _join(self, h: Tensor, skip: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        scales = self.scales[place.index]
        if scales is None:
            return h, skip
        first, second = h.chunk(2, dim=1)
        factor: Tensor | float = scales.backbone
        if self.by_structure:
            factor = (1 + (scales.backbone - 1) * _structure(h)).to(h.dtype)
        return torch.cat([first * factor, second], dim=1), coarse_scaled(skip, scales.skip)


def coarse_scaled(x: Tensor, scale: float) -> Tensor:
    """x [B, C, h, w] with its lowest spatial frequencies multiplied by `scale` (eq. 5 and 6)."""
    height, width = x.shape[-2:]
    frequencies = torch.fft.fftn(x.float(), dim=(-2, -1))
    rows = [row % height for row in range(-_LOWEST, _LOWEST)]
    columns = [column % width for column in range(-_LOWEST, _LOWEST)]
    mask = torch.ones(height, width, device=x.device)
    mask[torch.tensor(rows)[:, None], torch.tensor(columns)] = scale
    return torch.fft.ifftn(frequencies * mask, dim=(-2, -1)).real.to(x.dtype)


def _structure(h: Tensor) -> Tensor:
    """The mean over channels, stretched to 0..1 in each picture: [B, 1, h, w] float32."""
    mean = h.float().mean(dim=1, keepdim=True)
    low, high = mean.amin(dim=(2, 3), keepdim=True), mean.amax(dim=(2, 3), keepdim=True)
    return (mean - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)
