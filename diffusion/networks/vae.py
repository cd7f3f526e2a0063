"""The KL autoencoder of Stable Diffusion 1.x, of any size: pictures to latents and back.

Attribute names are the checkpoint's keys. A level's number counts from the finest, in the decoder too.
"""

import torch
from torch import Tensor, nn

from diffusion.config import VAEConfig
from diffusion.networks.layers import Conv2d, NormSiLU
from diffusion.networks.vae_blocks import EPS, DownLevel, Middle, UpLevel

RGB = 3
LOGVAR_RANGE = (-30.0, 20.0)
"""Log variances are kept within these, so that the standard deviation stays finite (latent diffusion's bounds)."""


class Encoder(nn.Module):
    """[B, 3, H, W] to [B, 2 * latent_channels, H/8, W/8] with four levels: means and log variances to be."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        channels, norm_groups = config.channels, config.norm_groups
        widths = zip((channels[0], *channels), channels, strict=False)
        self.conv_in = Conv2d(RGB, channels[0], 3, padding=1)
        self.down = nn.Sequential(
            *(
                DownLevel(
                    before,
                    after,
                    blocks=config.blocks,
                    norm_groups=norm_groups,
                    last=level == len(channels) - 1,
                )
                for level, (before, after) in enumerate(widths)
            )
        )
        self.mid = Middle(channels[-1], norm_groups=norm_groups)
        self.norm_out = NormSiLU(norm_groups, channels[-1], eps=EPS)
        self.conv_out = Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.conv_out(self.norm_out(self.mid(self.down(self.conv_in(pixels)))))


class Decoder(nn.Module):
    """[B, latent_channels, h, w] to [B, 3, 8h, 8w] with four levels."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        channels, norm_groups = config.channels, config.norm_groups
        widths = zip((*channels[1:], channels[-1]), channels, strict=True)
        self.conv_in = Conv2d(config.latent_channels, channels[-1], 3, padding=1)
        self.mid = Middle(channels[-1], norm_groups=norm_groups)
        self.up = nn.ModuleList(
            UpLevel(before, after, blocks=config.blocks + 1, norm_groups=norm_groups, last=level == 0)
            for level, (before, after) in enumerate(widths)
        )
        self.norm_out = NormSiLU(norm_groups, channels[0], eps=EPS)
        self.conv_out = Conv2d(channels[0], RGB, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        h = self.mid(self.conv_in(latent))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(self.norm_out(h))


class Autoencoder(nn.Module):
    """Pictures to distributions over latents, latents to pictures. Latents are unscaled (see LATENT_SCALE).

    Inputs are cast to the weights' dtype, in which results come too. Raises ValueError for a config whose
    channels cannot be split into its norm groups.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        for channels in config.channels:
            if channels % config.norm_groups:
                raise ValueError(
                    f"VAE config: {channels} channels do not split into {config.norm_groups} norm groups"
                )
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = Conv2d(config.latent_channels, config.latent_channels, 1)

    @property
    def dtype(self) -> torch.dtype:
        """What this network computes in: the dtype of its weights."""
        return self.quant_conv.weight.dtype

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [B, 3, H, W] in -1..1 to a latent's (mean, logvar), each [B, 4, H/8, W/8], rounded down.

        Raises ValueError for a picture that is smaller than one latent pixel.
        """
        least = 2 ** (len(self.config.channels) - 1)
        if min(pixels.shape[-2:]) < least:
            raise ValueError(
                f"a picture of {pixels.shape[-1]}x{pixels.shape[-2]} pixels is too small to encode: "
                f"width and height must be at least {least}"
            )
        moments = self.quant_conv(self.encoder(pixels.to(self.dtype)))
        mean, logvar = moments.chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, latent: Tensor) -> Tensor:
        """A latent [B, 4, h, w] to pixels [B, 3, 8h, 8w], about -1..1 (not clamped)."""
        return self.decoder(self.post_quant_conv(latent.to(self.dtype)))
