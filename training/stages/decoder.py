"""Sharpens the decoder on whole pictures, from latents with a little noise. The encoder, and so every latent, stays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.config import LATENT_SCALE
from diffusion.networks.vae import Autoencoder
from training.drawing import Mixture
from training.examples import as_pixels, example
from training.loop import generator

NOISE = 0.04
"""Standard deviation of what is added to scaled latents: about what sampling leaves in them."""


class Decoding:
    """The task of the decoder stage."""

    def __init__(self, vae: Autoencoder, *, seed: int, count: int, mixture: Mixture) -> None:
        vae.requires_grad_(False)
        vae.decoder.requires_grad_(True)
        vae.post_quant_conv.requires_grad_(True)
        self.network: nn.Module = vae
        self._vae, self._seed, self._count, self._mixture = vae, seed, count, mixture

    def loss(self, step: int, part: int) -> Tensor:
        """The reconstruction loss of freshly drawn pictures."""
        first = (2 * step + part) * self._count
        numbers = range(first, first + self._count)
        pictures = [
            example(self._seed, "decoded", number, mixture=self._mixture).picture for number in numbers
        ]
        pixels = as_pixels(pictures)
        noise = torch.randn(
            len(pixels),
            4,
            *(side // 8 for side in pixels.shape[-2:]),
            generator=generator(self._seed, "decoder", step, part),
        )
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latent, _ = self._vae.encode(pixels)
            drawn = self._vae.decode(latent.float() + noise * NOISE / LATENT_SCALE)
        return reconstruction_loss(drawn.float(), pixels)


def reconstruction_loss(drawn: Tensor, pixels: Tensor) -> Tensor:
    """Absolute and squared error, and the error of edges at full and half size. Both [B, 3, H, W]."""
    halved = edge_loss(F.avg_pool2d(drawn, 2), F.avg_pool2d(pixels, 2))
    return (
        F.l1_loss(drawn, pixels)
        + 0.5 * F.mse_loss(drawn, pixels)
        + 0.5 * edge_loss(drawn, pixels)
        + 0.25 * halved
    )


def edge_loss(drawn: Tensor, pixels: Tensor) -> Tensor:
    """The absolute error of differences between neighbouring pixels."""
    error = drawn - pixels
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
