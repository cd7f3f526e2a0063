"""Between pictures and latents: the autoencoder at work on the values that flow along links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor

from diffusion.config import LATENT_DOWNSCALE
from diffusion.memory.activations import decoder_bytes, encoder_bytes
from diffusion.memory.residents import Way
from diffusion.model import Vae
from diffusion.tiles import Tiling, in_tiles
from diffusion.types import Image, Latent

_OVERFLOW = "They overflow in this precision, or the VAE is damaged: try --dtype fp32, or another VAE."
_SIDES = (128, 96, 64, 48, 32, 16)
"""Tiles to fall back on, in latent pixels, when memory is short."""
_LEAST_SIDE = 8
_OVERLAP = 4
"""They overlap by a fourth, which hides that each has group norms of its own."""


def decode_latent(vae: Vae, latent: Latent) -> Image:
    """Pictures [B, H, W, 3] float32, 0..1, from latents [B, 4, H/8, W/8].

    In tiles, as decode_tiled, when there is too little memory for a whole picture. Raises ValueError when the latents
    have another number of channels than the autoencoder, are empty, or hold NaN or infinite numbers, and when the
    decoder makes such numbers of them; NotEnoughMemory when not even small tiles can be decoded.
    """
    return _decoded(vae, latent, None)


def decode_tiled(vae: Vae, latent: Latent, *, tile_size: int = 512, overlap: int = 64) -> Image:
    """The same, never more than a tile at a time: for pictures of any size in the memory that one tile takes.

    tile_size, overlap: in pixels of the picture, rounded down to multiples of 8, tiles of at least 64; the overlap is
    half of a tile at most. Every tile has group norms of its own, so the result differs a little from that of the
    whole: on the tiny checkpoint by 39 dB PSNR for tiles of 256 and an overlap of 64. There are no seams.
    """
    return _decoded(vae, latent, _tiling(tile_size, overlap))


def encode_image(vae: Vae, image: Image) -> Latent:
    """Latents [B, 4, H/8, W/8] float32, the mean of the encoder's distribution, from pictures [B, H, W, 3 or 4].

    Sizes that are no multiple of 8 are cropped around the centre; an alpha channel is left out. In tiles, as
    encode_tiled, when there is too little memory for a whole picture. Raises ValueError for pictures of another
    shape, smaller than 8 pixels, or not of finite numbers, and when the latents are not; NotEnoughMemory when not
    even small tiles can be encoded.
    """
    return _encoded(vae, image, None)


def encode_tiled(vae: Vae, image: Image, *, tile_size: int = 512, overlap: int = 64) -> Latent:
    """The same, never more than a tile at a time; tile_size and overlap as in decode_tiled."""
    return _encoded(vae, image, _tiling(tile_size, overlap))


@torch.inference_mode()
def _decoded(vae: Vae, latent: Latent, tiling: Tiling | None) -> Image:
    samples = latent.samples
    if samples.ndim != 4 or samples.shape[1] != vae.config.latent_channels or 0 in samples.shape:
        raise ValueError(
            f"These latents have the shape {list(samples.shape)}; this VAE decodes "
            f"[B, {vae.config.latent_channels}, H/8, W/8]. Use the VAE that belongs to the latents."
        )
    _check_finite(samples, "The latents", "Look at the node they come from.")
    network, placement = vae.runtime.autoencoder(vae), vae.runtime.placement

    def decode(part: Tensor) -> Tensor:
        return network.decode(part.to(placement.device, placement.vae_dtype)).float().cpu()

    step = _Step(decode, decoder_bytes, source_cell=1, result_cell=LATENT_DOWNSCALE)
    pictures = [
        vae.runtime.attempt_maps(network, _ways(vae, step, part, tiling)) for part in samples.split(1)
    ]
    pixels = torch.cat(pictures).add_(1).mul_(0.5).clamp_(0, 1)
    _check_finite(pixels, "The pictures that the VAE makes of these latents", _OVERFLOW)
    return Image(rearrange(pixels, "b c h w -> b h w c").contiguous())


@torch.inference_mode()
def _encoded(vae: Vae, image: Image, tiling: Tiling | None) -> Latent:
    if image.ndim != 4 or image.shape[3] not in (3, 4) or len(image) == 0:
        raise ValueError(
            f"Pictures to encode have the shape [batch, height, width, 3 or 4], one at least; got {list(image.shape)}."
        )
    _check_finite(image, "The pictures to encode", "Look at the node they come from.")
    pixels = _crop_to_multiple(image)[..., :3]
    if 0 in pixels.shape:
        raise ValueError(
            f"A picture of {image.shape[2]}x{image.shape[1]} pixels is too small to encode: it needs 8x8 at least."
        )
    network, placement = vae.runtime.autoencoder(vae), vae.runtime.placement

    def encode(part: Tensor) -> Tensor:
        scaled = part.to(placement.device, placement.vae_dtype) * 2 - 1
        return network.encode(scaled)[0].float().cpu()

    step = _Step(encode, encoder_bytes, source_cell=LATENT_DOWNSCALE, result_cell=1)
    parts = rearrange(pixels, "b h w c -> b c h w").split(1)
    latents = torch.cat([vae.runtime.attempt_maps(network, _ways(vae, step, part, tiling)) for part in parts])
    _check_finite(latents, "The latents that the VAE makes of these pictures", _OVERFLOW)
    return Latent(latents)


@dataclass(frozen=True, eq=False)
class _Step:
    """What is done to a picture or to a tile of it, and what that needs; cells as in tiles.py."""

    compute: Callable[[Tensor], Tensor]
    bytes_for: Callable[..., int]
    source_cell: int
    result_cell: int

    def needs(self, vae: Vae, height: int, width: int) -> int:
        """The bytes for so many cells."""
        itemsize = vae.runtime.placement.vae_dtype.itemsize
        return self.bytes_for(
            vae.config, height=height * self.source_cell, width=width * self.source_cell, itemsize=itemsize
        )

    def in_tiles(self, source: Tensor, tiling: Tiling) -> Tensor:
        return in_tiles(
            source, self.compute, tiling, source_cell=self.source_cell, result_cell=self.result_cell
        )


def _ways(vae: Vae, step: _Step, source: Tensor, tiling: Tiling | None) -> list[Way[Tensor]]:
    """Whole or in the tiles that were asked for, then in ever smaller ones."""
    height, width = (size // step.source_cell for size in source.shape[-2:])
    ways = []
    if tiling is None:
        ways.append(Way(step.needs(vae, height, width), partial(step.compute, source)))
    largest = max(height, width) if tiling is None else tiling.side
    tilings = [Tiling(side, side // _OVERLAP) for side in _SIDES if side < largest]
    for each in tilings if tiling is None else (tiling, *tilings):
        needs = step.needs(vae, min(each.side, height), min(each.side, width))
        ways.append(Way(needs, partial(step.in_tiles, source, each)))
    return ways


def _tiling(tile_size: int, overlap: int) -> Tiling:
    side = max(tile_size // LATENT_DOWNSCALE, _LEAST_SIDE)
    return Tiling(side, max(0, min(overlap // LATENT_DOWNSCALE, side // 2)))


def _check_finite(values: Tensor, what: str, remedy: str) -> None:
    if not torch.isfinite(values).all():
        raise ValueError(f"{what} hold NaN or infinite numbers. {remedy}")


def _crop_to_multiple(image: Image) -> Tensor:
    height, width = (size // LATENT_DOWNSCALE * LATENT_DOWNSCALE for size in image.shape[1:3])
    top, left = ((size % LATENT_DOWNSCALE) // 2 for size in image.shape[1:3])
    return image[:, top : top + height, left : left + width]
