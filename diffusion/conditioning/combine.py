"""Encoded prompts put together and changed: pure functions of Conditioning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.latents.checks import checked_mask
from diffusion.types import Area, Cond, Conditioning, Mask, Scope, Source


def combined(*conditionings: Conditioning) -> Conditioning:
    """All prompts of several: the model predicts for each apart, and the mean counts."""
    return Conditioning(tuple(entry for each in conditionings for entry in each.entries))


def concatenated(to: Conditioning, more: Conditioning) -> Conditioning:
    """Every prompt of `to` with the first one of `more` behind it: the model attends to both at once.

    Raises ValueError when they come from text encoders of different width.
    """
    added = _first(more, "conditioning_from")
    return _changed(to, lambda entry: replace(entry, embedding=_joined(entry.embedding, added.embedding)))


def averaged(to: Conditioning, other: Conditioning, strength: float) -> Conditioning:
    """Every prompt of `to`, its vectors mixed with those of the first prompt of `other`.

    strength: 0..1, the share of `to`. A shorter `other` ends in zeros, a longer one is cut. Raises as `concatenated`.
    """
    first = _first(other, "conditioning_from")

    def mixed(entry: Cond) -> Cond:
        mine, theirs = _alike(entry.embedding, first.embedding)
        length = mine.shape[1]
        theirs = F.pad(theirs[:, :length], (0, 0, 0, max(0, length - theirs.shape[1])))
        pooled = first.pooled if entry.pooled is None else entry.pooled
        if pooled is not None and first.pooled is not None:
            pooled = pooled * strength + first.pooled * (1.0 - strength)
        return replace(entry, embedding=mine * strength + theirs * (1.0 - strength), pooled=pooled)

    return _changed(to, mixed)


def zeroed(conditioning: Conditioning) -> Conditioning:
    """With zeros for all vectors, which is not what an empty prompt is."""
    return _changed(
        conditioning,
        lambda entry: replace(
            entry,
            embedding=torch.zeros_like(entry.embedding),
            pooled=None if entry.pooled is None else torch.zeros_like(entry.pooled),
        ),
    )


def in_area(conditioning: Conditioning, area: Area, strength: float) -> Conditioning:
    """For a rectangle of the picture."""
    return _scoped(
        conditioning, lambda scope: replace(scope, area=area, strength=strength, crop_to_mask=False)
    )


def of_strength(conditioning: Conditioning, strength: float) -> Conditioning:
    """With another weight among the prompts that it is combined with."""
    return _scoped(conditioning, lambda scope: replace(scope, strength=strength))


def in_mask(conditioning: Conditioning, mask: Mask, strength: float, *, crop: bool) -> Conditioning:
    """For what a mask [B, H, W] marks, as strongly as it marks it. crop: look only at the box around it.

    Raises ValueError for a mask that marks nothing.
    """
    flat = checked_mask(mask)[:, 0].float()
    return _scoped(
        conditioning, lambda scope: replace(scope, mask=flat, mask_strength=strength, crop_to_mask=crop)
    )


def in_range(conditioning: Conditioning, start: float, end: float) -> Conditioning:
    """For a part of the schedule, in shares, 0 the noisiest level. Raises ValueError for an end before the start."""
    if not 0 <= start <= end <= 1:
        raise ValueError(
            f"A prompt counts from a start to a later end, both within 0..1; got {start} to {end}: never."
        )
    return _scoped(conditioning, lambda scope: replace(scope, start=start, end=end))


def as_fallback(conditioning: Conditioning) -> Conditioning:
    """For where the prompts that it is combined with leave room."""
    return _scoped(conditioning, lambda scope: replace(scope, fallback=True))


def with_source(conditioning: Conditioning, source: Source) -> Conditioning:
    """With a picture for models that see one."""
    return _changed(conditioning, lambda entry: replace(entry, source=source))


def _changed(conditioning: Conditioning, change: Callable[[Cond], Cond]) -> Conditioning:
    return Conditioning(tuple(map(change, _checked(conditioning).entries)))


def _scoped(conditioning: Conditioning, change: Callable[[Scope], Scope]) -> Conditioning:
    return _changed(conditioning, lambda entry: replace(entry, scope=change(entry.scope)))


def _checked(conditioning: Conditioning) -> Conditioning:
    """The same. Raises ValueError unless every prompt is encoded as [B, T, C], none of them 0, of finite numbers."""
    for entry in conditioning.entries:
        if entry.embedding.ndim != 3 or 0 in entry.embedding.shape:
            raise ValueError(
                f"An encoded prompt has the shape [batch, tokens, width], each at least 1; got "
                f"{list(entry.embedding.shape)}. Look at the node it comes from."
            )
        if not torch.isfinite(entry.embedding).all():
            raise ValueError(
                "The encoded prompt holds NaN or infinite numbers: its text encoder or a LoRA on it is broken."
            )
    return conditioning


def _first(conditioning: Conditioning, name: str) -> Cond:
    if not conditioning.entries:
        raise ValueError(f"{name} holds no prompt at all. Connect a CLIPTextEncode node.")
    return _checked(conditioning).entries[0]


def _joined(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat(_alike(first, second), dim=1)


def _alike(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both as [B, T, C], the batch of one of them repeated for the other."""
    if first.shape[2] != second.shape[2]:
        raise ValueError(
            f"One prompt is encoded in vectors of {first.shape[2]} numbers, the other of {second.shape[2]}: they come "
            "from different kinds of text encoder. Encode both with the same CLIP."
        )
    batch = max(len(first), len(second))
    if {len(first), len(second)} - {1, batch}:
        raise ValueError(
            f"One conditioning holds a batch of {len(first)} prompts, the other of {len(second)}: make them the same."
        )
    return first.expand(batch, -1, -1), second.expand(batch, -1, -1)
