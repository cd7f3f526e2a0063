"""What networks need beside their weights, estimated from the sizes of what they are given.

Each figure is the peak of live tensors during one call, counted at full size over pictures of 256 to 1024 pixels a
side, where it grows in proportion to the area (the attention of this project never holds all pairs of pixels), and
rounded up for the scratch memory of kernels.
"""

from __future__ import annotations

from diffusion.config import LATENT_DOWNSCALE, TinyVAEConfig, UNetConfig, VAEConfig

_FIXED = 48 << 20
"""The scratch memory of kernels, and what the heap loses between tensors."""
_UNET_MAPS = 32
"""Feature maps of the finest level that are alive at once: 28 counted (half are the feed-forward's, 12 the skips)."""
_DECODER_MAPS, _ENCODER_MAPS = 7.5, 5.5
"""The same for the autoencoder: 7 and 5 counted, at the last enlargement and the first residual block."""
_TINY_MAPS = 8


def unet_bytes(config: UNetConfig, *, rows: int, height: int, width: int, itemsize: int) -> int:
    """For a call with `rows` latents of this height and width, prompts counted: 330 MB for 2 of 64x64 in bfloat16."""
    maps = _UNET_MAPS * config.channels[0] * rows * height * width * itemsize
    return int(maps) + _FIXED


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
