"""Faults in a latent or a mask, found before anything is computed from them."""

import torch
from torch import Tensor

from diffusion.types import Latent, Mask


def checked(latent: Latent) -> Tensor:
    """The samples [B, C, h, w]. Raises ValueError when they have another shape, are empty, or are not finite."""
    samples = latent.samples
    if samples.ndim != 4 or 0 in samples.shape:
        raise ValueError(
            "A latent has the shape [batch, channels, height / 8, width / 8], none of them 0; "
            f"got {list(samples.shape)}."
        )
    if not torch.isfinite(samples).all():
        raise ValueError("The latent holds NaN or infinite numbers. Look at the node it comes from.")
    return samples


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
