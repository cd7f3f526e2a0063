"""Blur, sharpening and noise."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_SHARPENING = 10.0


def gaussian_blur(image: Tensor, radius: int, sigma: float) -> Tensor:
    """The pictures blurred with a Gaussian of 2 * radius + 1 taps each way; edges are mirrored.

    sigma: its width as a share of `radius` (1.0: a tap at the kernel's end weighs exp(-1/2) of the middle one), as the
    node ImageBlur has always measured it. Raises ValueError when the radius is not smaller than the picture.
    """
    side = min(image.shape[1:3])
    if radius >= side:
        raise ValueError(
            f"A radius of {radius} does not fit a picture of {image.shape[2]}x{image.shape[1]} pixels: its mirrored "
            f"edge needs more pixels than there are. Use a radius below {side}, or a larger picture."
        )
    taps = torch.exp(-torch.linspace(-1, 1, 2 * radius + 1).square() / (2.0 * sigma * sigma))
    channels = image.shape[-1]
    kernel = (taps / taps.sum()).expand(channels, 1, 1, -1)
    planes = F.pad(rearrange(image, "b h w c -> b c h w"), (radius,) * 4, "reflect")
    planes = F.conv2d(planes, kernel, groups=channels)
    planes = F.conv2d(planes, kernel.transpose(2, 3), groups=channels)
    return rearrange(planes, "b c h w -> b h w c")


def sharpen(image: Tensor, radius: int, sigma: float, alpha: float) -> Tensor:
    """The pictures plus 10 * alpha times what a blur takes away from them (unsharp masking), cut to 0..1."""
    detail = image - gaussian_blur(image, radius, sigma)
    return (image + _SHARPENING * alpha * detail).clamp(0, 1)


def add_noise(image: Tensor, seed: int, strength: float) -> Tensor:
    """The pictures plus normal noise times `strength`, cut to 0..1; drawn on the processor from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    return (image + strength * torch.randn(image.shape, generator=generator)).clamp(0, 1)
