"""Latents to small pictures by one matrix: rough, and next to free. For previews while sampling goes on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from diffusion.codec import encode_image
from diffusion.config import LATENT_DOWNSCALE
from diffusion.model import Vae
from diffusion.types import Image, Latent

_PATCHES, _SIDE = 8, 256
"""How many patches of colour are along the picture that a mapping is fitted on, and its side in pixels."""


@dataclass(frozen=True, eq=False)
class LatentRgb:
    """A linear mapping from a latent's pixel to a colour. matrix: [4, 3]; bias: [3]; both float32."""

    matrix: Tensor
    bias: Tensor

    def __call__(self, latent: Latent) -> Image:
        """Pictures [B, h, w, 3] float32, 0..1, an eighth of the size, from latents [B, 4, h, w]."""
        channels = rearrange(latent.samples.float().cpu(), "b c h w -> b h w c")
        return Image((channels @ self.matrix + self.bias).clamp(0, 1))


def fit(latent: Latent, pictures: Image) -> LatentRgb:
    """The mapping that comes nearest to `pictures` [B, 8h, 8w, 3], averaged over 8x8 squares, by least squares.

    latent: theirs, [B, 4, h, w]. Raises ValueError when their sizes do not go together.
    """
    squares = F.avg_pool2d(rearrange(pictures[..., :3], "b h w c -> b c h w"), LATENT_DOWNSCALE)
    if squares.shape[0] != latent.samples.shape[0] or squares.shape[2:] != latent.samples.shape[2:]:
        raise ValueError(
            f"Pictures of {list(pictures.shape)} do not go with latents of {list(latent.samples.shape)}, "
            f"which are {LATENT_DOWNSCALE} times smaller: encode these very pictures."
        )
    channels = rearrange(latent.samples, "b c h w -> (b h w) c")
    ones = channels.new_ones(len(channels), 1)
    colours = rearrange(squares, "b c h w -> (b h w) c")
    solution = torch.linalg.lstsq(torch.cat([channels, ones], dim=1), colours).solution
    return LatentRgb(solution[:-1], solution[-1])


def fit_to_vae(vae: Vae) -> LatentRgb:
    """The mapping for the latents of an autoencoder, found by encoding one picture of random colours.

    Flat patches with hard edges serve as well as real pictures do. Raises ValueError for an autoencoder that cannot
    encode.
    """
    colours = torch.rand(1, 3, _PATCHES, _PATCHES, generator=torch.Generator().manual_seed(0))
    picture = Image(rearrange(F.interpolate(colours, (_SIDE, _SIDE)), "b c h w -> b h w c"))
    return fit(encode_image(vae, picture), picture)
