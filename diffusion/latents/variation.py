"""Noise between two noises: variations of a picture that stay close to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.sampling.starting_noise import Noise
from diffusion.types import Latent

_PER_SAMPLE = (1, 2, 3)
_ALIKE = 1 - 1e-6
_NONE = Noise(0, none=True)


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """From first (share 0) to second (share 1) along a great circle (Shoemake 1985): [B, C, h, w] each.

    Each sample is one vector. Of two unit normal noises the result is one too, which it would not be on a line. Where
    the two point the same way, or either is 0, it is the line.
    """
    lengths = first.square().sum(_PER_SAMPLE, keepdim=True) * second.square().sum(_PER_SAMPLE, keepdim=True)
    cosine = torch.nan_to_num((first * second).sum(_PER_SAMPLE, keepdim=True) / lengths.sqrt(), nan=1.0)
    angle = torch.acos(cosine.clamp(-_ALIKE, _ALIKE))
    turned = (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / torch.sin(angle)
    return torch.where(cosine.abs() > _ALIKE, torch.lerp(first, second, share), turned)


@dataclass(frozen=True)
class MixedNoise(Noise):
    """One noise turned towards another. Its seed, for samplers that add noise along the way, is that of the first.

    share: 0..1, how far. first and second may be mixtures themselves.
    """

    first: Noise = _NONE
    second: Noise = _NONE
    share: float = 0.0

    @classmethod
    def between(cls, first: Noise, second: Noise, share: float) -> MixedNoise:
        """first (share 0) to second (share 1)."""
        return cls(first.seed, first=first, second=second, share=share)

    def draw(self, latent: Latent, device: torch.device) -> Tensor:
        """Like latent.samples, unit normal, float32; a mixture with no noise at all is weaker."""
        first, second = self.first.draw(latent, device), self.second.draw(latent, device)
        return slerp(first, second.to(first), self.share)
