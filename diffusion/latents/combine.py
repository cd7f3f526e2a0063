"""Two latents made one: sums, mixtures, and what brings the second to the size of the first."""

from dataclasses import replace

import torch
from torch import Tensor

from diffusion.latents.checks import checked, finite
from diffusion.latents.resize import resized
from diffusion.sampling.batches import repeated
from diffusion.types import Latent


def fitted(latent: Latent, samples: Tensor) -> Tensor:
    """The samples of `latent` in the height, width and batch of `samples` [B, C, h, w].

    Resized bilinearly, cut around the centre to the proportions; repeated from the start while too few, cut when too
    many. Raises ValueError when they have another number of channels.
    """
    return repeated(in_size(latent, samples, "bilinear"), len(samples))


def in_size(latent: Latent, samples: Tensor, method: str) -> Tensor:
    """The samples of `latent`, its own batch, in the height and width of `samples`, cut around the centre.

    method: one of resize.METHODS. Raises ValueError when they have another number of channels.
    """
    own = checked(latent)
    if own.shape[1] != samples.shape[1]:
        raise ValueError(
            f"One latent has {samples.shape[1]} channels, the other {own.shape[1]}: they belong to different kinds "
            "of model and cannot be combined."
        )
    height, width = samples.shape[-2:]
    return own if own.shape[-2:] == (height, width) else resized(own, width, height, method, crop=True)


def add(first: Latent, second: Latent) -> Latent:
    """first + second, in the size of the first."""
    samples = checked(first)
    return replace(first, samples=finite(samples + fitted(second, samples)))


def subtract(first: Latent, second: Latent) -> Latent:
    """first - second, in the size of the first."""
    samples = checked(first)
    return replace(first, samples=finite(samples - fitted(second, samples)))


def multiply(latent: Latent, factor: float) -> Latent:
    """Every number times `factor`."""
    return replace(latent, samples=finite(checked(latent) * factor))


def interpolate(first: Latent, second: Latent, ratio: float) -> Latent:
    """The first (ratio 1) to the second (ratio 0), in the size of the first, keeping the length of vectors.

    The channels of a cell are one vector: directions and lengths are mixed apart from each other.
    """
    a = checked(first)
    b = fitted(second, a)
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    mixed = torch.nan_to_num(a / length_a) * ratio + torch.nan_to_num(b / length_b) * (1 - ratio)
    direction = torch.nan_to_num(mixed / mixed.norm(dim=1, keepdim=True))
    return replace(first, samples=finite(direction * (length_a * ratio + length_b * (1 - ratio))))


def blend(first: Latent, second: Latent, factor: float) -> Latent:
    """first * factor + second * (1 - factor), in the size of the first (bicubic); a shorter batch repeats.

    When the first is the shorter one, its batch index no longer says whose noise each sample has, and is left out.
    """
    a = checked(first)
    b = in_size(second, a, "bicubic")
    count = max(len(a), len(b))
    samples = repeated(a, count) * factor + repeated(b, count) * (1 - factor)
    return replace(first, samples=finite(samples), batch_index=first.batch_index if count == len(a) else None)
