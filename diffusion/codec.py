"""Between pictures and latents: the autoencoder at work on the values that flow along links."""

import torch
from einops import rearrange

from diffusion.config import LATENT_DOWNSCALE
from diffusion.model import Vae
from diffusion.types import Image, Latent

_OVERFLOW = "They overflow in this precision, or the VAE is damaged: try --dtype fp32, or another VAE."


@torch.inference_mode()
def decode_latent(vae: Vae, latent: Latent) -> Image:
    """Pictures [B, H, W, 3] float32, 0..1, from latents [B, 4, H/8, W/8].

    Raises ValueError when the latents have another number of channels than the autoencoder, are empty, or hold NaN or
    infinite numbers, and when the decoder makes such numbers of them.
    """
    samples = latent.samples
    if samples.ndim != 4 or samples.shape[1] != vae.config.latent_channels or 0 in samples.shape:
        raise ValueError(
            f"These latents have the shape {list(samples.shape)}; this VAE decodes "
            f"[B, {vae.config.latent_channels}, H/8, W/8]. Use the VAE that belongs to the latents."
        )
    _check_finite(samples, "The latents", "Look at the node they come from.")
    network, placement = vae.runtime.autoencoder(vae), vae.runtime.placement
    pictures = [
        network.decode(sample.to(placement.device, placement.vae_dtype)).float().cpu()
        for sample in samples.split(1)
    ]
    pixels = torch.cat(pictures).add_(1).mul_(0.5).clamp_(0, 1)
    _check_finite(pixels, "The pictures that the VAE makes of these latents", _OVERFLOW)
    return Image(rearrange(pixels, "b c h w -> b h w c").contiguous())


@torch.inference_mode()
def encode_image(vae: Vae, image: Image) -> Latent:
    """Latents [B, 4, H/8, W/8] float32, the mean of the encoder's distribution, from pictures [B, H, W, 3 or 4].

    Sizes that are no multiple of 8 are cropped around the centre; an alpha channel is left out. Raises ValueError
    for pictures of another shape, smaller than 8 pixels, or not of finite numbers, and when the latents are not.
    """
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
    scaled = rearrange(pixels, "b h w c -> b c h w").to(placement.device, placement.vae_dtype) * 2 - 1
    means = [network.encode(picture)[0].float().cpu() for picture in scaled.split(1)]
    latents = torch.cat(means)
    _check_finite(latents, "The latents that the VAE makes of these pictures", _OVERFLOW)
    return Latent(latents)


def _check_finite(values: torch.Tensor, what: str, remedy: str) -> None:
    if not torch.isfinite(values).all():
        raise ValueError(f"{what} hold NaN or infinite numbers. {remedy}")


def _crop_to_multiple(image: Image) -> torch.Tensor:
    height, width = (size // LATENT_DOWNSCALE * LATENT_DOWNSCALE for size in image.shape[1:3])
    top, left = ((size % LATENT_DOWNSCALE) // 2 for size in image.shape[1:3])
    return image[:, top : top + height, left : left + width]
