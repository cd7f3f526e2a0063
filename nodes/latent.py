"""Nodes that make, encode, decode, mask, save and load latents."""

from dataclasses import replace
from typing import Annotated

import torch

from diffusion.codec import decode_latent, encode_image
from diffusion.config import LATENT_CHANNELS, LATENT_DOWNSCALE
from diffusion.files.latent_file import latent_bytes, read_latent
from diffusion.latents.checks import check_count, checked, checked_mask
from diffusion.latents.inpaint import blanked
from diffusion.model import Vae
from diffusion.types import Image, Latent, Mask
from graph import QUIET, Context, File, Range, Shown, node
from nodes.fingerprints import content_stamp
from nodes.metadata import workflow_metadata
from nodes.saving import FilePrefix, save_numbered

MAX_RESOLUTION = 16384
PictureSize = Annotated[int, Range(16, MAX_RESOLUTION, step=8)]


@node("EmptyLatentImage", title="Empty Latent Image", category="latent")
def empty_latent_image(
    *, width: PictureSize = 512, height: PictureSize = 512, batch_size: Annotated[int, Range(1, 4096)] = 1
) -> Latent:
    """An empty latent to make pictures from.

    Inputs:
        width: Width of the picture in pixels, rounded down to a multiple of 8.
        height: Height of the picture in pixels, rounded down to a multiple of 8.
        batch_size: How many pictures to make at once.

    Outputs:
        LATENT: Zeros, [batch_size, 4, height/8, width/8] float32.
    """
    shape = (batch_size, LATENT_CHANNELS, height // LATENT_DOWNSCALE, width // LATENT_DOWNSCALE)
    check_count(*shape)
    return Latent(torch.zeros(shape))


@node("VAEDecode", title="VAE Decode", category="latent")
def vae_decode(*, samples: Latent, vae: Vae) -> Image:
    """Decode latents into pictures.

    Inputs:
        samples: The latents.
        vae: The autoencoder.

    Outputs:
        IMAGE: Pictures, [B, H, W, 3] float32, 0..1.
    """
    return decode_latent(vae, samples)


@node("VAEEncode", title="VAE Encode", category="latent")
def vae_encode(*, pixels: Image, vae: Vae) -> Latent:
    """Encode pictures into latents. Sizes that are no multiple of 8 are cropped around the centre.

    Inputs:
        pixels: The pictures.
        vae: The autoencoder.

    Outputs:
        LATENT: The mean of the encoder's distribution, [B, 4, H/8, W/8] float32.
    """
    return encode_image(vae, pixels)


@node("SetLatentNoiseMask", title="Set Latent Noise Mask", category="latent/inpaint")
def set_latent_noise_mask(*, samples: Latent, mask: Mask) -> Latent:
    """Let a sampler change a latent only where the mask is 1 (inpainting).

    Inputs:
        samples: The latents.
        mask: What may change; scaled to the latent's size when it is used. It must not be empty.

    Outputs:
        LATENT: The same latents with the mask.
    """
    checked(samples)
    return replace(samples, noise_mask=checked_mask(mask))


@node("VAEEncodeForInpaint", title="VAE Encode (for Inpainting)", category="latent/inpaint")
def vae_encode_for_inpaint(
    *, pixels: Image, vae: Vae, mask: Mask, grow_mask_by: Annotated[int, Range(0, 64)] = 6
) -> Latent:
    """Encode pictures with what is to be painted anew blanked, for inpainting models or for denoise 1.

    Inputs:
        pixels: The pictures; sizes that are no multiple of 8 are cropped around the centre.
        vae: The autoencoder.
        mask: What is to be painted, stretched over the pictures; above 0.5 counts. It must not be empty.
        grow_mask_by: By how many pixels to widen what may change, so that no seam shows.

    Outputs:
        LATENT: The latents, [B, 4, H/8, W/8] float32, with the mask.
    """
    kept, noise_mask = blanked(pixels, mask, grow_mask_by)
    return replace(encode_image(vae, kept), noise_mask=noise_mask)


@node("SaveLatent", title="Save Latent", category="latent", output=True, io=True)
def save_latent(
    *,
    samples: Latent,
    filename_prefix: Annotated[str, FilePrefix()] = "latents/ComfyUI",
    ctx: Context = QUIET,
) -> Shown[None]:
    """Save latents to a .latent file in the output folder, with the workflow that made them.

    Inputs:
        samples: The latents.
        filename_prefix: Start of the file's name, with folders before it; a number follows.
    """
    content = latent_bytes(samples, workflow_metadata(ctx))
    saved = save_numbered(ctx.folders.output, filename_prefix, ".latent", content, kind="output")
    return Shown(None, ui={"latents": [saved]})


def _latent_stamp(*, latent: str, ctx: Context = QUIET) -> str:
    return content_stamp(ctx.folders.find("input", latent))


@node("LoadLatent", title="Load Latent", category="latent", fingerprint=_latent_stamp)
def load_latent(
    *, latent: Annotated[str, File("input", suffixes=(".latent",))], ctx: Context = QUIET
) -> Latent:
    """Load latents from a .latent file in the input folder.

    Inputs:
        latent: The file.

    Outputs:
        LATENT: The latents, [B, 4, H/8, W/8] float32.
    """
    return read_latent(ctx.folders.find("input", latent))
