"""The sizes of the networks: frozen configs, and those of Stable Diffusion 1.x as constants."""

from dataclasses import dataclass, field

LATENT_CHANNELS = 4
LATENT_DOWNSCALE = 8
LATENT_SCALE = 0.18215
"""Latents are multiplied by this before the UNet sees them (Rombach et al. 2022, released v1 configs)."""


@dataclass(frozen=True)
class UNetConfig:
    """A Stable Diffusion 1.x UNet. channels: width of each resolution level, finest first.

    attention: whether each level has cross-attention blocks. blocks: residual blocks a level.
    """

    in_channels: int = 4
    out_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    blocks: int = 2
    context_dim: int = 768
    num_heads: int = 8
    norm_groups: int = 32


@dataclass(frozen=True)
class ControlNetConfig:
    """A ControlNet: the down half of a UNet, and what reads the picture that leads it.

    hint_channels: of that picture. hint_widths: of the convolutions that read it; it is halved between two of them.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    hint_channels: int = 3
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)


@dataclass(frozen=True)
class AdapterConfig:
    """A T2I-Adapter. channels: of each level, as the UNet has them. hint_channels: of the picture that it reads.

    light: its smaller form. blocks: residual blocks a level. kernel: the size of the second convolution of each, in the
    full form. strided: whether levels are halved by convolutions, and not by averages.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    hint_channels: int = 3
    light: bool = False
    blocks: int = 2
    kernel: int = 1
    strided: bool = False


@dataclass(frozen=True)
class VAEConfig:
    """The KL-f8 autoencoder. channels: width of each level, finest first. blocks: a level's, in the encoder."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    latent_channels: int = LATENT_CHANNELS
    norm_groups: int = 32


@dataclass(frozen=True)
class TinyVAEConfig:
    """A distilled autoencoder (networks/tiny_decoder.py): width channels everywhere, and one half of it or both."""

    width: int = 64
    encodes: bool = True
    decodes: bool = True
    latent_channels: int = LATENT_CHANNELS


@dataclass(frozen=True)
class TextConfig:
    """A CLIP text transformer. positions is the chunk length, start and end tokens included."""

    vocab_size: int = 49408
    width: int = 768
    layers: int = 12
    num_heads: int = 12
    hidden: int = 3072
    positions: int = 77
    activation: str = "quick_gelu"


SD15_UNET = UNetConfig()
SD15_INPAINT_UNET = UNetConfig(in_channels=9)
SD15_VAE = VAEConfig()
SD15_TEXT = TextConfig()
