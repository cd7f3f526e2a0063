"""Faults in a latent or a mask, found before anything is computed from them, and in what was computed."""

import math

import torch
from torch import Tensor

from diffusion.types import Latent, Mask

MOST_NUMBERS = 1 << 28
"""In all samples of a latent together, 1 GB in float32: 64 latents of 8192x8192 pixels. More is mostly a slip."""


def checked(latent: Latent) -> Tensor:
    """The samples [B, C, h, w]. Raises ValueError when they have another shape, are empty, or are not finite.

    Of a noise mask likewise; it may be empty, since a part of a latent's batch may have nothing to paint.
    """
    samples = latent.samples
    if samples.ndim != 4 or 0 in samples.shape:
        raise ValueError(
            "A latent has the shape [batch, channels, height / 8, width / 8], none of them 0; "
            f"got {list(samples.shape)}."
        )
    if not torch.isfinite(samples).all():
        raise ValueError("The latent holds NaN or infinite numbers. Look at the node it comes from.")
    mask = latent.noise_mask
    if mask is not None and (mask.ndim < 2 or 0 in mask.shape or not torch.isfinite(mask).all()):
        raise ValueError(
            f"The latent's noise mask, of the shape {list(mask.shape)}, is none: it is [batch, 1, height, width], each "
            "at least 1, of finite numbers. Look at the node it comes from, or set another with SetLatentNoiseMask."
        )
    return samples


def finite(samples: Tensor) -> Tensor:
    """What was computed. Raises ValueError when its numbers have grown past what can be written down."""
    if not torch.isfinite(samples).all():
        raise ValueError(
            "The result holds NaN or infinite numbers, since those of the latent are too large to compute with. Most "
            "lie between -30 and 30. Look at the node it comes from."
        )
    return samples


def check_count(*shape: int) -> None:
    """Raises ValueError for a latent of this shape, [batch, channels, height, width], that would fill the memory."""
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(
            f"The latent would have the shape {list(shape)}, {math.prod(shape):,} numbers, more than the "
            f"{MOST_NUMBERS:,} that are meant to fit the memory. Use a smaller size or batch."
        )


def checked_mask(mask: Mask) -> Tensor:
    """The mask as [B, 1, H, W]. Raises ValueError when it has another shape, marks nothing, or holds NaN."""
    if mask.ndim < 2 or 0 in mask.shape:
        raise ValueError(
            f"A mask has the shape [batch, height, width], none of them 0; got {list(mask.shape)}."
        )
    if not torch.isfinite(mask).all():
        raise ValueError("The mask holds NaN or infinite numbers. Look at the node it comes from.")
    if not bool((mask > 0).any()):
        raise ValueError(
            "This mask is empty: nothing would be painted. A picture without transparency gives such a mask; "
            "for a black-and-white mask picture use LoadImageMask with the channel red."
        )
    return mask.reshape(-1, 1, mask.shape[-2], mask.shape[-1])
