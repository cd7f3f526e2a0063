"""Trains the autoencoder on crops, then folds the latents' mean and spread into its two outermost convolutions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.config import LATENT_SCALE
from diffusion.networks.vae import Autoencoder
from training.drawing import Mixture
from training.examples import as_pixels, example
from training.loop import generator
from training.stages.decoder import reconstruction_loss

KL_WEIGHT = 1e-4
FLAT = 6 / 127.5
"""A crop that varies less than this, on a grid of every eighth pixel, shows next to nothing."""
TRIES = 3


class Autoencoding:
    """The task of the autoencoder stage."""

    def __init__(self, vae: Autoencoder, *, seed: int, count: int, crop: int, mixture: Mixture) -> None:
        self.network: nn.Module = vae
        self._vae, self._seed, self._count, self._crop, self._mixture = vae, seed, count, crop, mixture

    def loss(self, step: int, part: int) -> Tensor:
        """Reconstruction, the mean over 8x8 squares, and the divergence from unit normals."""
        random = generator(self._seed, "autoencoder", step, part)
        first = (2 * step + part) * self._count
        pixels = torch.cat([self._cropped(number, random) for number in range(first, first + self._count)])
        with torch.autocast("cpu", torch.bfloat16):
            mean, logvar = (moment.float() for moment in self._vae.encode(pixels))
            latent = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=random)
            drawn = self._vae.decode(latent).float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        squares = F.l1_loss(F.avg_pool2d(drawn, 8), F.avg_pool2d(pixels, 8))
        return reconstruction_loss(drawn, pixels) + 0.5 * squares + KL_WEIGHT * divergence

    def _cropped(self, number: int, random: torch.Generator) -> Tensor:
        pixels = as_pixels([example(self._seed, "crop", number, mixture=self._mixture).picture])
        for _ in range(TRIES):
            top, left = torch.randint(pixels.shape[-1] - self._crop + 1, (2,), generator=random).tolist()
            crop = pixels[:, :, top : top + self._crop, left : left + self._crop]
            if crop[..., ::8, ::8].std((-2, -1)).max() > FLAT:
                break
        return crop


@torch.no_grad()
def fold_statistics(vae: Autoencoder, pictures: Tensor) -> None:
    """Change quant_conv and post_quant_conv so that latents of `pictures` times LATENT_SCALE have mean 0, variance 1.

    pictures: [B, 3, H, W], -1..1. What the autoencoder makes of a picture stays the same.
    """
    with torch.autocast("cpu", torch.bfloat16):
        latents = torch.cat([vae.encode(batch)[0].float() for batch in pictures.split(16)])
    mean = latents.mean((0, 2, 3))
    spread = (latents - mean[:, None, None]).std().item()
    factor = 1 / (spread * LATENT_SCALE)
    channels = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    assert into.bias is not None
    assert out.bias is not None
    into.bias[:channels] = (into.bias[:channels] - mean) * factor
    into.weight[:channels] *= factor
    into.bias[channels:] += 2 * math.log(factor)
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight /= factor
