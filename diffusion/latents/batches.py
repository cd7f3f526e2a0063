"""Batches of latents: joined, taken apart, repeated, and which noise each sample gets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.config import LATENT_DOWNSCALE
from diffusion.latents.checks import check_count, checked
from diffusion.latents.combine import in_size
from diffusion.sampling.batches import repeated
from diffusion.types import Latent


def join(first: Latent, second: Latent) -> Latent:
    """One batch of both; the second is resized to the first. The noise mask is that of the first.

    batch_index: of both, each counted from 0 where it has none, so each keeps the noise it would have alone.
    """
    a = checked(first)
    b = in_size(second, a, "bilinear")
    return replace(first, samples=torch.cat((a, b)), batch_index=_index(first, 0) + _index(second, 0))


def _index(latent: Latent, start: int) -> tuple[int, ...]:
    count = len(latent.samples)
    return latent.batch_index if latent.batch_index is not None else tuple(range(start, start + count))


def take(latent: Latent, start: int, length: int) -> Latent:
    """`length` samples from number `start` on, with their masks; one at least, and none past the end.

    batch_index: so that each sample keeps the noise it would have in the whole batch.
    """
    samples = checked(latent)
    count = len(samples)
    start = min(count - 1, start)
    chosen = slice(start, start + min(count - start, length))
    mask = latent.noise_mask
    if mask is not None and len(mask) > 1:
        mask = repeated(mask, count)[chosen]
    return Latent(samples[chosen], mask, _index(latent, 0)[chosen])


def repeat(latent: Latent, amount: int) -> Latent:
    """The batch `amount` times over.

    batch_index: where there is one, each repetition counts on from the one before, so no two have the same noise.
    """
    samples, mask, index = checked(latent), latent.noise_mask, latent.batch_index
    check_count(len(samples) * amount, *samples.shape[1:])
    if mask is not None and len(mask) > 1:
        mask = repeated(mask, len(samples)).repeat(amount, *[1] * (mask.ndim - 1))
    if index is not None:
        offset = max(index) - min(index) + 1
        index = tuple(number + i * offset for i in range(amount) for number in index)
    return Latent(samples.repeat(amount, 1, 1, 1), mask, index)


def rebatch(latents: Sequence[Latent], batch_size: int) -> list[Latent]:
    """The samples of all latents, in order, in batches of `batch_size`; the last of a size may have fewer.

    Latents of another size than those before them start a new batch. batch_index: where a latent has none, its samples
    count on from those before it, as one batch of them all would.
    """
    offsets, total = [], 0
    for latent in latents:
        offsets.append(total)
        total += len(checked(latent))
    batches: list[Latent] = []
    numbered = zip(latents, offsets, strict=True)
    for _, group in groupby(numbered, lambda item: item[0].samples.shape[1:]):
        batches.extend(_split(_joined(list(group)), batch_size))
    return batches


def _joined(group: Sequence[tuple[Latent, int]]) -> Latent:
    samples = torch.cat([latent.samples for latent, _ in group])
    index = tuple(number for latent, offset in group for number in _index(latent, offset))
    masks = [_whole_mask(latent) for latent, _ in group]
    if len({mask.shape[1:] for mask in masks}) > 1:
        height, width = (size * LATENT_DOWNSCALE for size in samples.shape[-2:])
        masks = [F.interpolate(mask, size=(height, width), mode="bilinear") for mask in masks]
    return Latent(samples, torch.cat(masks), index)


def _whole_mask(latent: Latent) -> Tensor:
    """[B, 1, H, W], a mask for every sample; of ones, in the picture's size, where there is none."""
    samples = latent.samples
    if latent.noise_mask is not None:
        mask = latent.noise_mask
        return repeated(mask.reshape(-1, 1, *mask.shape[-2:]), len(samples))
    height, width = (size * LATENT_DOWNSCALE for size in samples.shape[-2:])
    return torch.ones(len(samples), 1, height, width)


def _split(latent: Latent, size: int) -> Iterator[Latent]:
    assert latent.noise_mask is not None
    assert latent.batch_index is not None
    for start in range(0, len(latent.samples), size):
        part = slice(start, start + size)
        mask = latent.noise_mask[part]
        yield Latent(
            latent.samples[part], None if bool((mask == 1).all()) else mask, latent.batch_index[part]
        )


def same_noise(latent: Latent) -> Latent:
    """Every sample gets the noise of the first."""
    return replace(latent, batch_index=_index(latent, 0)[:1] * len(checked(latent)))


def own_noise(latent: Latent) -> Latent:
    """Each sample gets noise of its own, drawn for the batch as a whole."""
    checked(latent)
    return replace(latent, batch_index=None)
