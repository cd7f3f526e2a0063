"""Nodes that show a picture to models that see one beside the noisy latent."""

from dataclasses import replace
from typing import NamedTuple

import torch

from diffusion.codec import encode_image
from diffusion.conditioning.combine import with_source
from diffusion.latents.inpaint import blanked_inside
from diffusion.model import Vae
from diffusion.types import Conditioning, Image, Latent, Mask, Source
from graph import node


class WithPicture(NamedTuple):
    """Two prompts that carry a picture, and a latent of its size."""

    positive: Conditioning
    negative: Conditioning
    latent: Latent


@node("InpaintModelConditioning", category="conditioning/inpaint")
def inpaint_model_conditioning(
    *,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    pixels: Image,
    mask: Mask,
    noise_mask: bool = True,
) -> WithPicture:
    """Show an inpainting model a picture with a hole, and start from the whole picture.

    With a denoise below 1 the picture's own content leads what is painted; VAEEncodeForInpaint forgets it instead.

    Inputs:
        positive: What to show.
        negative: What to avoid.
        vae: The autoencoder.
        pixels: The picture; sizes that are no multiple of 8 are cropped around the centre.
        mask: What is to be painted, stretched over the picture; above 0.5 is the hole. It must not be empty.
        noise_mask: Whether what is not masked is held fixed while sampling.

    Outputs:
        positive: What to show, with the picture for the model.
        negative: What to avoid, with the picture for the model.
        latent: The whole picture, [B, 4, H/8, W/8] float32, with the mask if noise_mask is on.
    """
    hollow, hole = blanked_inside(pixels, mask)
    source = Source(encode_image(vae, hollow).samples, hole)
    latent = encode_image(vae, pixels)
    return WithPicture(
        with_source(positive, source),
        with_source(negative, source),
        replace(latent, noise_mask=hole) if noise_mask else latent,
    )


@node("InstructPixToPixConditioning", category="conditioning/instructpix2pix")
def instruct_pix_to_pix_conditioning(
    *, positive: Conditioning, negative: Conditioning, vae: Vae, pixels: Image
) -> WithPicture:
    """Show InstructPix2Pix (Brooks et al. 2023) the picture that the prompt says how to change.

    For guidance by the picture too, DualCFGGuider with positive, negative, and as its own negative a prompt that has
    not gone through this node, which the model then sees without a picture.

    Inputs:
        positive: How to change the picture.
        negative: What to avoid.
        vae: The autoencoder.
        pixels: The picture; sizes that are no multiple of 8 are cropped around the centre.

    Outputs:
        positive: How to change the picture, with the picture for the model.
        negative: What to avoid, with the picture for the model.
        latent: An empty latent of the picture's size, [B, 4, H/8, W/8] float32.
    """
    encoded = encode_image(vae, pixels)
    source = Source(encoded.samples)
    empty = replace(encoded, samples=torch.zeros_like(encoded.samples))
    return WithPicture(with_source(positive, source), with_source(negative, source), empty)
