"""A picture made ready for an inpainting model: what is to be painted blanked, and the mask of it grown."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.config import LATENT_DOWNSCALE
from diffusion.latents.checks import checked_mask
from diffusion.sampling.batches import repeated
from diffusion.types import Image, Mask

_GREY = 0.5
"""What the models were trained to see in place of the hole."""


def blanked(image: Image, mask: Mask, grow: int) -> tuple[Image, Tensor]:
    """As `blanked_inside`, with the mask rounded to 0 or 1 and widened by so many pixels in all, against seams."""
    pixels, hole = blanked_inside(image, mask)
    return pixels, _grown(hole.round(), grow)


def blanked_inside(image: Image, mask: Mask) -> tuple[Image, Tensor]:
    """Pictures [B, H, W, 3] grey where the mask is above a half, and the mask, [B or 1, 1, H, W].

    image: [B, H', W', 3 or 4]; H, W are its sides rounded down to multiples of 8, cut around the centre.
    mask: [B or 1, any, any], stretched over the picture.
    Raises ValueError for an empty mask, pictures of another shape, and pictures below 8 pixels.
    """
    if (
        image.ndim != 4
        or image.shape[3] not in (3, 4)
        or len(image) == 0
        or min(image.shape[1:3]) < LATENT_DOWNSCALE
    ):
        raise ValueError(
            "Pictures to encode have the shape [batch, height, width, 3 or 4], one at least, of 8x8 pixels at least; "
            f"got {list(image.shape)}."
        )
    height, width = (size // LATENT_DOWNSCALE * LATENT_DOWNSCALE for size in image.shape[1:3])
    top, left = ((size % LATENT_DOWNSCALE) // 2 for size in image.shape[1:3])
    stretched = F.interpolate(checked_mask(mask).float(), size=image.shape[1:3], mode="bilinear")
    hole = stretched[:, :, top : top + height, left : left + width]
    pixels = image[:, top : top + height, left : left + width, :3]
    keep = 1 - repeated(hole.round(), len(pixels)).movedim(1, -1)
    return Image((pixels - _GREY) * keep + _GREY), hole


def _grown(hole: Tensor, by: int) -> Tensor:
    if by == 0:
        return hole
    padding = math.ceil((by - 1) / 2)
    reached = F.conv2d(hole, torch.ones(1, 1, by, by), padding=padding)
    return reached.clamp(0, 1)[:, :, : hole.shape[2], : hole.shape[3]].round()
