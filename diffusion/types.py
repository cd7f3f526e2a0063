"""The values that flow along links, and the one table of their shapes, ranges and dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, NewType

from torch import Tensor

if TYPE_CHECKING:
    from diffusion.hooks.group import HookGroup

Image = NewType("Image", Tensor)
"""Pictures: [B, H, W, 3 or 4] float32, 0..1, RGB or RGBA."""

Mask = NewType("Mask", Tensor)
"""Masks: [B, H, W] float32, 0..1; 1 marks what is to be changed."""

Sigmas = NewType("Sigmas", Tensor)
"""Noise levels to sample at: [steps + 1] float32 on the CPU, descending (ascending to add noise), 0 only at the end."""

Weights = Mapping[str, Tensor]
"""Tensors of one network under its canonical keys (the names its module's state_dict has)."""


@dataclass(frozen=True, eq=False)
class Latent:
    """Latents as the VAE's encoder makes them, before the model's own scale is applied.

    samples: [B, 4, H/8, W/8] float32.
    noise_mask: [B or 1, 1, H', W'] float32, 0..1, any size; only where it is 1 does sampling change the latent.
    batch_index: one number per sample; noise for sample i is the batch_index[i]-th draw of the seed.
    """

    samples: Tensor
    noise_mask: Tensor | None = None
    batch_index: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Area:
    """A rectangle of the picture, in cells of the latent (8x8 pixels), or in shares of the picture's sides, 0..1."""

    height: float
    width: float
    top: float
    left: float
    shares: bool = False


@dataclass(frozen=True, eq=False)
class Scope:
    """Where in the picture, when in the run and how strongly a prompt counts among those of its conditioning.

    area: None is the whole picture. strength: its weight. mask: [B, H, W] float32, any size, its weight from place to
    place, times mask_strength; crop_to_mask: only the box around the mask is looked at, whatever the area.
    start, end: shares of the trained timesteps, as NoiseSchedule.sigma_at has them. steps: from which share of the
    run's steps to which, the end excluded. text_range: what it was encoded for; start and end narrow that down.
    fallback: it counts where the others leave room.
    """

    area: Area | None = None
    strength: float = 1.0
    mask: Tensor | None = None
    mask_strength: float = 1.0
    crop_to_mask: bool = False
    start: float = 0.0
    end: float = 1.0
    steps: tuple[Fraction, Fraction] | None = None
    text_range: tuple[float, float] = (0.0, 1.0)
    fallback: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only a part of the picture is looked at."""
        return self.area is not None or (self.mask is not None and self.crop_to_mask)


EVERYWHERE = Scope()


@dataclass(frozen=True, eq=False)
class Source:
    """A picture that the UNet of an inpainting or instruction model sees beside the noisy latent.

    latent: [B, 4, h, w] float32 as the VAE makes it. mask: [B, 1, H, W], any size, 1 where it is to be filled in.
    """

    latent: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Cond:
    """One encoded prompt: embedding [1 or B, T, C] float32 (T a multiple of 77), pooled [1 or B, C] or None.

    options holds what later stages read beside these, by name. hooks: changes of the UNet for this prompt alone.
    """

    embedding: Tensor
    pooled: Tensor | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    scope: Scope = EVERYWHERE
    source: Source | None = None
    hooks: HookGroup | None = None


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the model is asked to show: one or more encoded prompts, combined by the denoiser."""

    entries: tuple[Cond, ...]
