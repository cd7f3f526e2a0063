"""Where things are in a latent: cut out, turned, put onto another, side by side.

Distances are in cells of the latent, each 8x8 pixels.
"""

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.latents.checks import checked, checked_mask
from diffusion.sampling.batches import repeated
from diffusion.types import Latent, Mask

_SMALLEST_CROP = 8
_AXES = {"x": -1, "y": -2}


def crop(latent: Latent, *, left: int, top: int, width: int, height: int) -> Latent:
    """A part of a latent: what is inside when the part goes past an edge, and 8 cells at least where there are as many.

    Its noise mask is not cropped: it is fitted to the latent when it is used.
    """
    samples = checked(latent)
    left = min(left, max(0, samples.shape[3] - _SMALLEST_CROP))
    top = min(top, max(0, samples.shape[2] - _SMALLEST_CROP))
    return replace(latent, samples=samples[:, :, top : top + height, left : left + width])


def flip(latent: Latent, axis: Literal["x", "y"]) -> Latent:
    """Mirrored at the x-axis (upside down) or at the y-axis (left is right)."""
    return replace(latent, samples=checked(latent).flip(2 if axis == "x" else 3))


def rotate(latent: Latent, quarters: int) -> Latent:
    """Turned clockwise by so many quarters."""
    return replace(latent, samples=torch.rot90(checked(latent), quarters, dims=(3, 2)))


def composite(onto: Latent, latent: Latent, *, left: int, top: int, feather: int = 0) -> Latent:
    """`latent` pasted onto another at (left, top); what goes past the edges is left out.

    feather: over how many cells its inner edges fade in; an edge at the border of `onto` does not fade at the left and
    top, nor at the right and bottom. Batches are repeated, or cut, to that of `onto`. Raises ValueError when nothing of
    it falls inside.
    """
    samples = checked(onto)
    pasted = _inside(_alike(latent, samples), samples, left, top)
    height, width = pasted.shape[-2:]
    opacity = torch.ones(1, 1, height, width).to(samples)
    if feather:
        rows = _fade(height, feather, top != 0, top + height < samples.shape[2])
        columns = _fade(width, feather, left != 0, left + width < samples.shape[3])
        opacity = (rows[:, None] * columns).to(samples)[None, None]
    return replace(onto, samples=_pasted(samples, pasted, opacity, left, top))


def composite_masked(
    onto: Latent, latent: Latent, *, left: int, top: int, stretch: bool = False, mask: Mask | None = None
) -> Latent:
    """`latent` pasted onto another at (left, top) where the mask is 1; what goes past the edges is left out.

    mask: [B, H, W], stretched over `latent`; without one, all of it is pasted. stretch: resize `latent` to `onto`.
    Batches are repeated, or cut, to that of `onto`. Raises ValueError for an empty mask and when nothing falls inside.
    """
    samples = checked(onto)
    source = _alike(latent, samples)
    if stretch:
        source = F.interpolate(source, size=samples.shape[-2:], mode="bilinear")
    pasted = _inside(source, samples, left, top)
    opacity = torch.ones(1, 1, *pasted.shape[-2:]).to(samples)
    if mask is not None:
        whole = F.interpolate(checked_mask(mask).to(samples), size=source.shape[-2:], mode="bilinear")
        opacity = repeated(whole, len(samples))[..., : pasted.shape[-2], : pasted.shape[-1]]
    return replace(onto, samples=_pasted(samples, pasted, opacity, left, top))


def _alike(latent: Latent, samples: Tensor) -> Tensor:
    own = checked(latent)
    if own.shape[1] != samples.shape[1]:
        raise ValueError(
            f"One latent has {samples.shape[1]} channels, the other {own.shape[1]}: they belong to different kinds "
            "of model and cannot be combined."
        )
    return repeated(own, len(samples))


def _inside(pasted: Tensor, samples: Tensor, left: int, top: int) -> Tensor:
    height, width = samples.shape[-2:]
    if left >= width or top >= height:
        raise ValueError(
            f"x = {left * 8}, y = {top * 8} lies outside of the latent pasted onto, which stands for a picture of "
            f"{width * 8}x{height * 8} pixels. Choose a smaller x and y."
        )
    return pasted[..., : height - top, : width - left]


def _fade(length: int, feather: int, at_start: bool, at_end: bool) -> Tensor:
    """Opacity along a side: rising over `feather` cells from its start and falling to its end, where asked for."""
    rising = ((torch.arange(length) + 1) / feather).clamp(max=1)
    return (rising if at_start else 1) * (rising.flip(0) if at_end else torch.ones(length))


def _pasted(samples: Tensor, pasted: Tensor, opacity: Tensor, left: int, top: int) -> Tensor:
    result = samples.clone()
    place = result[..., top : top + pasted.shape[-2], left : left + pasted.shape[-1]]
    place.copy_(pasted * opacity + place * (1 - opacity))
    return result


def concat(first: Latent, second: Latent, direction: str) -> Latent:
    """Side by side: the second to the right ("x") or the left ("-x") of the first, below it ("y") or above it ("-y").

    The second is repeated, or cut, to the batch of the first. Raises ValueError when the sides that touch are not of
    one length.
    """
    axis = _axis(direction.removeprefix("-"))
    a = checked(first)
    b = _alike(second, a)
    across = -2 if axis == -1 else -1
    if a.shape[across] != b.shape[across]:
        raise ValueError(
            f"These latents do not fit side by side: one has a {'height' if across == -2 else 'width'} of "
            f"{a.shape[across] * 8} pixels, the other of {b.shape[across] * 8}. Scale or crop one of them first."
        )
    return replace(first, samples=torch.cat((b, a) if direction.startswith("-") else (a, b), dim=axis))


def cut(latent: Latent, direction: str, index: int, amount: int) -> Latent:
    """`amount` cells from `index` on, along "x" or "y"; a negative index counts from the end. Ends at the edge."""
    axis = _axis(direction)
    samples = checked(latent)
    length = samples.shape[axis]
    start = min(index, length - 1) if index >= 0 else max(length + index, 0)
    return replace(latent, samples=samples.narrow(axis, start, min(amount, length - start)))


def _axis(direction: str) -> int:
    if direction not in _AXES:
        raise ValueError(
            f"{direction!r} is the axis of time, which latents of pictures do not have. Choose x or y."
        )
    return _AXES[direction]
