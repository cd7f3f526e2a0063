"""Changing only part of a latent: the mask that holds the rest fixed, and the extra inputs of inpainting models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.sampling.batches import repeated
from diffusion.sampling.schedule.trained import NoiseSchedule

MaskRule = Callable[[Tensor, NoiseSchedule, Tensor, float], Tensor]
"""(sigmas of the run, schedule, mask, sigma) -> the mask at level sigma, of the same shape."""


@dataclass(frozen=True, eq=False)
class Region:
    """The part of a latent that sampling may change.

    mask: [B, 1, h, w], 1 where it may, values between mix. latent: [B, 4, h, w] in the model's scale, what the rest
    keeps. noise: [B, 4, h, w], unit normal, what the rest is noised with while the model looks at it.
    changing: what the mask is at each level, from (mask, sigma); None leaves it as it is.
    """

    mask: Tensor
    latent: Tensor
    noise: Tensor
    changing: Callable[[Tensor, float], Tensor] | None = None

    def at(self, sigma: float) -> Region:
        """The region at level sigma, when that is not always the same."""
        return self if self.changing is None else replace(self, mask=self.changing(self.mask, sigma))

    def noised(self, x: Tensor, sigma: float) -> Tensor:
        """`x`, with the latent at noise level sigma outside the mask: what the model is to see."""
        return x * self.mask + (self.latent + self.noise * sigma) * (1 - self.mask)

    def restored(self, denoised: Tensor) -> Tensor:
        """`denoised`, with the latent itself outside the mask."""
        return denoised * self.mask + self.latent * (1 - self.mask)


def fit_mask(mask: Tensor, samples: Tensor) -> Tensor:
    """A noise mask of any size as [B, 1, h, w], to go with samples [B, C, h, w]: resized bilinearly, and repeated.

    Raises ValueError for an empty mask, and for NaN or infinite numbers.
    """
    if mask.ndim < 2 or 0 in mask.shape or not torch.isfinite(mask).all():
        raise ValueError(
            f"A noise mask is [B, 1, H, W] with numbers from 0 to 1; got shape {list(mask.shape)}"
            f"{'' if torch.isfinite(mask).all() else ', holding NaN or infinity'}."
        )
    single = mask.reshape(-1, 1, *mask.shape[-2:]).to(samples)
    return repeated(F.interpolate(single, size=samples.shape[-2:], mode="bilinear"), len(samples))


def extra_channels(in_channels: int, samples: Tensor, mask: Tensor | None) -> Tensor | None:
    """What the UNet sees beside x: None for a plain model; for inpainting [B, 5, h, w], mask and latent to fill in.

    samples: [B, 4, h, w] in the model's scale; for an inpainting model, of a picture whose masked part was blanked.
    mask: [B, 1, h, w] or None. Raises ValueError when an inpainting model gets no mask, or the UNet is neither.
    """
    extra = in_channels - samples.shape[1]
    if extra == 0:
        return None
    if extra != samples.shape[1] + 1:
        raise ValueError(
            f"The latent has {samples.shape[1]} channels, and this UNet takes {in_channels}: they do not belong "
            f"together. A Stable Diffusion 1.x latent has 4 channels; its UNets take 4, or 9 for inpainting."
        )
    if mask is None:
        raise ValueError(
            f"This is an inpainting model (its UNet takes {in_channels} channels): it needs to know what to fill in. "
            "Put a SetLatentNoiseMask node before the sampler, or use a checkpoint that is not for inpainting."
        )
    return torch.cat([mask.round(), samples], dim=1)
