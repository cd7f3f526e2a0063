"""A tiny autoencoder of Stable Diffusion's latents, made by distillation: TAESD (Bohan, github.com/madebyollin/taesd).

Attribute names are the keys of the decoder's and the encoder's files, `decoder.` or `encoder.` before them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion.config import LATENT_CHANNELS, LATENT_SCALE, TinyVAEConfig
from diffusion.networks.layers import Conv2d
from diffusion.networks.upsampling import EnlargingConv2d
from diffusion.networks.vae import LOGVAR_RANGE, RGB

LATENT_BOUND = 3.0
"""Scaled latents are bent to lie within this, softly, before they are decoded."""


class TinyAutoencoder(nn.Module):
    """Pictures to latents and back in one residual block at full size, where the full autoencoder has attention, group
    norms and eight times the channels. Takes what Autoencoder takes; parts that config leaves out raise ValueError.
    """

    def __init__(self, config: TinyVAEConfig) -> None:
        super().__init__()
        self.config = config
        if config.encodes:
            self.encoder = _encoder(config.width)
        if config.decodes:
            self.decoder = _decoder(config.width)

    @property
    def dtype(self) -> torch.dtype:
        """What this network computes in: the dtype of its weights."""
        return next(self.parameters()).dtype

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [B, 3, H, W] in -1..1 to a latent's (mean, logvar), each [B, 4, H/8, W/8], rounded up.

        It knows no variance: logvar is the least there is. Raises ValueError when there is no encoder.
        """
        if not self.config.encodes:
            raise ValueError(
                "This tiny VAE decodes only: its encoder's file is not there. Put the file that ends in "
                "_encoder.safetensors beside that of the decoder, or encode with the checkpoint's own VAE."
            )
        mean = self.encoder((pixels.to(self.dtype) + 1) / 2) / LATENT_SCALE
        return mean, torch.full_like(mean, LOGVAR_RANGE[0])

    def decode(self, latent: Tensor) -> Tensor:
        """A latent [B, 4, h, w] to pixels [B, 3, 8h, 8w], about -1..1 (not clamped).

        Raises ValueError when there is no decoder.
        """
        if not self.config.decodes:
            raise ValueError(
                "This tiny VAE encodes only: its decoder's file is not there. Put the file that ends in "
                "_decoder.safetensors beside that of the encoder, or decode with the checkpoint's own VAE."
            )
        return self.decoder(latent.to(self.dtype) * LATENT_SCALE) * 2 - 1


class Block(nn.Module):
    """Three convolutions and a shortcut. [B, C, h, w] in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(width, width), _relu(), _conv(width, width), _relu(), _conv(width, width)
        )
        self.fuse = _relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(self.conv(x) + x)


class Bend(nn.Module):
    """Numbers of any size to within LATENT_BOUND, small ones hardly changed."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / LATENT_BOUND) * LATENT_BOUND


class Layers(nn.Sequential):
    """Layers in a row; those that enlarge double the size."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer.enlarge(x, _doubled(x)) if isinstance(layer, EnlargingConv2d) else layer(x)
        return x


def _doubled(x: Tensor) -> tuple[int, int]:
    return 2 * x.shape[-2], 2 * x.shape[-1]


def _decoder(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [Bend(), _conv(LATENT_CHANNELS, width), _relu()]
    for _ in range(3):
        enlarging = EnlargingConv2d(width)
        enlarging.register_parameter("bias", None)
        # The identity holds the place of the enlargement, which files count in their names.
        layers += [Block(width), Block(width), Block(width), nn.Identity(), enlarging]
    return Layers(*layers, Block(width), _conv(width, RGB))


def _encoder(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(RGB, width), Block(width)]
    for _ in range(3):
        layers += [_conv(width, width, stride=2, bias=False), Block(width), Block(width), Block(width)]
    return nn.Sequential(*layers, _conv(width, LATENT_CHANNELS))


def _conv(channels: int, out_channels: int, *, stride: int = 1, bias: bool = True) -> Conv2d:
    return Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=bias)


def _relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)
