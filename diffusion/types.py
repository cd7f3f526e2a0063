"""The values that flow along links, and the one table of their shapes, ranges and dtypes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from torch import Tensor

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


@dataclass(frozen=True, eq=False)
class Cond:
    """One encoded prompt: embedding [1 or B, T, C] float32 (T a multiple of 77), pooled [1 or B, C] or None.

    options holds what later stages read beside the text (areas, masks, time ranges, ...), by name.
    """

    embedding: Tensor
    pooled: Tensor | None = None
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the model is asked to show: one or more encoded prompts, combined by the denoiser."""

    entries: tuple[Cond, ...]
