"""What UNets of more than 4 channels see beside the noisy latent: a picture to fill in, or one to change."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.config import LATENT_CHANNELS, LATENT_SCALE
from diffusion.latents.resize import resized
from diffusion.sampling.inpaint import extra_channels
from diffusion.types import Cond, Conditioning, Source

EDITING_CHANNELS = 2 * LATENT_CHANNELS
"""What the UNet of InstructPix2Pix takes: the noisy latent, and that of the picture to change."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The further input channels of one run's UNet, by the prompt.

    in_channels: the UNet's. clean: [B, 4, h, w] in the model's scale. mask: [B, 1, h, w], the noise mask if there is
    one: they stand in for an inpainting model where a prompt has no picture of its own.
    """

    in_channels: int
    clean: Tensor
    mask: Tensor | None
    _made: dict[Source | None, Tensor | None] = field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls,
        in_channels: int,
        clean: Tensor,
        mask: Tensor | None,
        conditionings: Iterable[Conditioning],
    ) -> Inputs:
        """For a run that asks for these. Raises ValueError for a UNet that is not given what it needs to see."""
        inputs = cls(in_channels, clean, mask)
        entries = [entry for conditioning in conditionings for entry in conditioning.entries]
        if in_channels == EDITING_CHANNELS and not any(entry.source for entry in entries):
            raise ValueError(
                f"This model changes a picture (its UNet takes {in_channels} channels): it needs to see one. Put an "
                "InstructPixToPixConditioning node before the sampler, or use an ordinary checkpoint."
            )
        for entry in entries:
            inputs.beside(entry)
        return inputs

    def beside(self, entry: Cond) -> Tensor | None:
        """What is seen with this prompt, [B, c, h, w]; None for a UNet that takes the latent alone."""
        if entry.source not in self._made:
            self._made[entry.source] = self._channels(entry.source)
        return self._made[entry.source]

    def _channels(self, source: Source | None) -> Tensor | None:
        if self.in_channels == EDITING_CHANNELS:
            # Unscaled, as the model was trained (Brooks et al. 2023, published code).
            return torch.zeros_like(self.clean) if source is None else self._fitted(source.latent)
        if source is None or self.in_channels == LATENT_CHANNELS:
            return extra_channels(self.in_channels, self.clean, self.mask)
        mask = self.mask if source.mask is None else self._fitted(source.mask)
        return extra_channels(self.in_channels, self._fitted(source.latent) * LATENT_SCALE, mask)

    def _fitted(self, picture: Tensor) -> Tensor:
        """[B', C, h', w'] like the latents of the run: cut to their shape, resized, and spread over the batch."""
        height, width = self.clean.shape[-2:]
        if picture.shape[-2:] != self.clean.shape[-2:]:
            picture = resized(picture, width, height, "bilinear", crop=True)
        return spread(picture.to(self.clean), len(self.clean))


def spread(tensor: Tensor, size: int) -> Tensor:
    """`tensor` with `size` entries along its first axis, evenly taken from those it has, in order."""
    count = len(tensor)
    if count == size:
        return tensor
    if size < count:
        step = (count - 1) / max(size - 1, 1)
        return tensor[[min(round(number * step), count - 1) for number in range(size)]]
    return tensor[[min(math.floor((number + 0.5) * count / size), count - 1) for number in range(size)]]
