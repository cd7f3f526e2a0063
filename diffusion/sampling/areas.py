"""Parts of a picture that prompts are for: their boxes in a latent, their weights, and how two prompts share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.sampling.batches import repeated
from diffusion.types import Cond, Conditioning, Scope

Size = tuple[int, int]
"""Height and width of a latent, in cells."""

_LEAST_SIDE = 8
"""The box around a mask is not smaller than this, so that the UNet has something to look at."""
_FADE = 8
"""An area without a mask fades in over so many cells, and over no more than a fourth of its side."""


class Box(NamedTuple):
    """A rectangle of a latent, in cells."""

    height: int
    width: int
    top: int
    left: int

    def of(self, tensor: Tensor) -> Tensor:
        """That part of [..., h, w], as a view."""
        return tensor[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def is_inside(self, other: Box) -> bool:
        """Whether no cell of it lies outside of `other`."""
        return (
            self.top >= other.top
            and self.left >= other.left
            and self.top + self.height <= other.top + other.height
            and self.left + self.width <= other.left + other.width
        )

    def clipped(self, size: Size) -> Box:
        """What of it lies in a latent of this size. Raises ValueError when nothing does."""
        height, width = min(self.height, size[0] - self.top), min(self.width, size[1] - self.left)
        if height < 1 or width < 1:
            raise ValueError(
                f"A prompt's area begins at x {self.left * 8}, y {self.top * 8}, which is outside of the picture of "
                f"{size[1] * 8}x{size[0] * 8} pixels. Move it, or make the picture larger."
            )
        return Box(height, width, self.top, self.left)


def box_of(scope: Scope, size: Size) -> Box | None:
    """Where a prompt is looked at in a latent of this size; None for the whole. It may go past the edges."""
    if scope.mask is not None and scope.crop_to_mask:
        return _bounds(fitted_mask(scope.mask, size))
    area, (height, width) = scope.area, size
    if area is None:
        return None
    if not area.shares:
        return Box(int(area.height), int(area.width), int(area.top), int(area.left))
    return Box(
        max(1, round(area.height * height)),
        max(1, round(area.width * width)),
        round(area.top * height),
        round(area.left * width),
    )


def weight_of(scope: Scope, box: Box | None, x: Tensor) -> Tensor | float:
    """How strongly a prompt counts in its box of x [B, C, h, w]: [B or 1, 1, h', w'], or one number for all of it."""
    size = (x.shape[-2], x.shape[-1])
    if scope.mask is not None:
        mask = fitted_mask(scope.mask.to(x), size)[: len(x)]
        cut = mask if box is None else box.of(mask)
        return repeated(cut, len(x))[:, None] * (scope.mask_strength * scope.strength)
    if box is None:
        return float(scope.strength)
    rows = _faded(box.height, box.top > 0, box.top + box.height < size[0])
    columns = _faded(box.width, box.left > 0, box.left + box.width < size[1])
    return (rows[:, None] * columns * scope.strength).to(x)[None, None]


def fitted_mask(mask: Tensor, size: Size) -> Tensor:
    """[B, H, W] of any size as [B, h, w], resized bilinearly."""
    if mask.shape[-2:] == size:
        return mask
    return F.interpolate(mask[:, None], size=size, mode="bilinear")[:, 0]


def matched(conditionings: Sequence[Conditioning], size: Size) -> list[Conditioning]:
    """The conditionings of one run, each with an answer to every area that another one has a prompt for.

    Guidance compares what two conditionings predict, so both must be looked at in the same parts of the picture: for an
    area that is not among a conditioning's own, its prompt for the smallest area around that is asked for there too,
    as strongly as the prompt that it answers.
    """
    entries = [list(conditioning.entries) for conditioning in conditionings]
    for own in entries:
        for asking in own:
            box = box_of(asking.scope, size)
            if box is None:
                continue
            for others in entries:
                answer = None if others is own else _answer(asking, box, others, size)
                if answer is not None:
                    others.append(answer)
    return [
        conditioning if len(own) == len(conditioning.entries) else Conditioning(tuple(own))
        for conditioning, own in zip(conditionings, entries, strict=True)
    ]


def _answer(asking: Cond, box: Box, others: Sequence[Cond], size: Size) -> Cond | None:
    """What of `others` to ask for in the box; None when they have nothing around it, or a prompt for just that."""
    best: tuple[Cond, Box | None] | None = None
    for entry in others:
        area = box_of(entry.scope, size)
        if area is None:
            best = best or (entry, None)
        elif box.is_inside(area):
            known = None if best is None else best[1]
            if known is None or known.height * known.width > area.height * area.width:
                best = (entry, area)
    if best is None or best[1] == box:
        return None
    # What leads the prompt that asks, such as a ControlNet, leads its answer too.
    return replace(asking, embedding=best[0].embedding, pooled=best[0].pooled, source=best[0].source)


def _bounds(mask: Tensor) -> Box:
    """The box around all that masks [B, h, w] mark."""
    marked = mask.abs().amax(dim=0) != 0
    if not bool(marked.any()):
        return Box(_LEAST_SIDE, _LEAST_SIDE, 0, 0)
    (top, bottom), (left, right) = (
        (int(places[0]), int(places[-1])) for places in (marked.any(dim).nonzero()[:, 0] for dim in (1, 0))
    )
    return Box(max(_LEAST_SIDE, bottom - top + 1), max(_LEAST_SIDE, right - left + 1), top, left)


def _faded(length: int, at_start: bool, at_end: bool) -> Tensor:
    """Weights along one side, [length]: rising at the start and falling at the end where that is asked for."""
    fade = min(_FADE, length // 4)
    rising = (torch.arange(fade) + 1) / fade
    weights = torch.ones(length)
    if at_start:
        weights[:fade] *= rising
    if at_end:
        weights[length - fade :] *= rising.flip(0)
    return weights
