"""What networks need beside their weights, estimated from the sizes of what they are given.

Each figure is the peak of live tensors during one call, counted at full size over pictures of 256 to 1024 pixels a
side, where it grows in proportion to the area (the attention of this project never holds all pairs of pixels), and
rounded up for the scratch memory of kernels.
"""

from __future__ import annotations

from diffusion.config import (
    LATENT_DOWNSCALE,
    AdapterConfig,
    ControlNetConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.upscaler.compact import CompactConfig
from diffusion.networks.upscaler.rrdb import RRDBConfig

_FIXED = 48 << 20
"""The scratch memory of kernels, and what the heap loses between tensors."""
_UNET_MAPS = 32
"""Feature maps of the finest level that are alive at once: 28 counted (half are the feed-forward's, 12 the skips)."""
_HINT_MAPS = 4
"""Maps of a ControlNet's first convolutions, as large as the picture: into one, out of it, activated, and one over."""
_ADAPTER_MAPS = 6
"""Maps of a T2I-Adapter's finest level."""
_DECODER_MAPS, _ENCODER_MAPS = 7.5, 5.5
"""The same for the autoencoder: 7 and 5 counted, at the last enlargement and the first residual block."""
_TINY_MAPS = 8
_BLOCK_WIDTHS, _BLOCK_GROWTHS = 7, 8
"""An RRDB network's maps of either kind, at the last convolution of a dense block."""
_ENLARGED_MAPS = 3.5
"""Its maps at the result's size, the four phases of the last doubling among them."""
_COMPACT_MAPS = 3
_PICTURE_BYTES = 20
"""What each number of the enlarged picture takes: four copies in float32 at the most, and one in half of that."""


def unet_bytes(config: UNetConfig, *, rows: int, height: int, width: int, itemsize: int) -> int:
    """For a call with `rows` latents of this height and width, prompts counted: 330 MB for 2 of 64x64 in bfloat16."""
    maps = _UNET_MAPS * config.channels[0] * rows * height * width * itemsize
    return int(maps) + _FIXED


def hint_bytes(
    config: ControlNetConfig | AdapterConfig, *, rows: int, height: int, width: int, itemsize: int
) -> int:
    """For reading `rows` pictures for latents of this height and width."""
    cells = rows * height * width
    picture = config.hint_channels * cells * LATENT_DOWNSCALE**2
    if isinstance(config, AdapterConfig):
        return (_ADAPTER_MAPS * config.channels[0] * cells + picture) * itemsize + _FIXED
    maps = _HINT_MAPS * config.hint_widths[0] * cells * LATENT_DOWNSCALE**2
    return (maps + picture) * itemsize + _FIXED


def decoder_bytes(config: VAEConfig | TinyVAEConfig, *, height: int, width: int, itemsize: int) -> int:
    """For decoding one latent of this height and width."""
    return _pixel_maps(config, _DECODER_MAPS, height * width * LATENT_DOWNSCALE**2, itemsize)


def encoder_bytes(config: VAEConfig | TinyVAEConfig, *, height: int, width: int, itemsize: int) -> int:
    """For encoding one picture of this height and width in pixels."""
    return _pixel_maps(config, _ENCODER_MAPS, height * width, itemsize)


def _pixel_maps(config: VAEConfig | TinyVAEConfig, maps: float, pixels: int, itemsize: int) -> int:
    if isinstance(config, TinyVAEConfig):
        return _TINY_MAPS * config.width * pixels * itemsize + _FIXED
    return int(maps * config.channels[0] * pixels * itemsize) + _FIXED


def upscaler_bytes(config: RRDBConfig | CompactConfig, *, height: int, width: int, itemsize: int) -> int:
    """For enlarging one picture of this height and width in pixels: 2.2 GB for 512x512 to 2048x2048 in bfloat16."""
    pixels = height * width
    picture = pixels * config.scale**2 * config.out_channels * _PICTURE_BYTES
    if isinstance(config, CompactConfig):
        return _COMPACT_MAPS * config.width * pixels * itemsize + picture + _FIXED
    cells = pixels / config.unshuffle**2
    block = (_BLOCK_WIDTHS * config.width + _BLOCK_GROWTHS * config.growth) * cells
    enlarged = _ENLARGED_MAPS * config.width * cells * 4**config.doublings
    return int(max(block, enlarged) * itemsize) + picture + _FIXED
