"""The picture that leads a run, cut and scaled to what a latent stands for."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from diffusion.config import LATENT_DOWNSCALE
from diffusion.types import Image


def fitted(hint: Image, size: tuple[int, int]) -> Tensor:
    """Pictures [B, H, W, C] as [B, C, 8 * h, 8 * w] for latents of this (h, w), 0..1.

    They are cut to that shape around their centre and scaled by nearest neighbours, as saved workflows count on: edges
    stay edges. Raises ValueError when the cut leaves nothing.
    """
    height, width = (side * LATENT_DOWNSCALE for side in size)
    old_height, old_width = hint.shape[1:3]
    old, new = old_width / old_height, width / height
    left = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    top = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    cut = hint[:, top : old_height - top, left : old_width - left]
    if 0 in cut.shape:
        raise ValueError(
            f"A picture of {old_width}x{old_height} pixels cut to the shape of {width}x{height} leaves nothing. "
            "Give the control a picture of a shape more like the latent's."
        )
    return F.interpolate(rearrange(cut, "b h w c -> b c h w"), (height, width), mode="nearest-exact")
