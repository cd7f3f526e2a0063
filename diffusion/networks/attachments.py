"""Where features attach to a UNet: the places it offers, and what may stand there. An empty place costs nothing.

A feature (token merging, FreeU, ControlNet, reuse between steps, ...) is an Attachment on a Model. Each sampling run
begins it anew, and each call of the UNet asks it for Hooks: plain functions that stand at the places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from diffusion.networks.attention import CrossAttention
    from diffusion.types import Conditioning


@dataclass(frozen=True)
class Place:
    """A stage of the UNet: its part, and the how-manieth it is there from 0. The middle has one."""

    part: Literal["input", "middle", "output"]
    index: int


class Spot(NamedTuple):
    """An attention layer: its stage, the picture's height and width there, and the layer itself."""

    place: Place
    size: tuple[int, int]
    layer: CrossAttention


SelfAttend = Callable[[Tensor], Tensor]
"""Tokens [B, N, C], normed, to what is added to them."""

AroundSelfAttention = Callable[[SelfAttend, Tensor, Spot], Tensor]
"""(attend, tokens, spot): calls `attend` with the tokens, or changed ones, or not at all; gives [B, N, C]."""

CrossAttend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Tokens [B, N, C] and what keys and values are made of, [B, T, D] each, to what is added to the tokens."""

AroundCrossAttention = Callable[[CrossAttend, Tensor, Tensor, Tensor, Spot], Tensor]
"""(attend, tokens, for keys, for values, spot): likewise."""

Sources = Callable[[Tensor, Tensor, Spot], tuple[Tensor, Tensor]]
"""(for keys, for values, spot): what an attention layer, self or cross, makes keys and values of, changed."""

AroundInner = Callable[[Callable[[Tensor], Tensor], Tensor, Place], Tensor]
"""(descend, h, place): all that lies below the input stage `place`, which left h [B, C, h, w]; what it gives goes to
the output stage across."""

Join = Callable[[Tensor, Tensor, Place], tuple[Tensor, Tensor]]
"""(h, skip, place): what the output stage `place` puts together, changed."""

After = Callable[[Tensor, Place], Tensor]
"""(h, place): what a stage left, changed; from an input stage it is also the skip connection."""


@dataclass(frozen=True, eq=False)
class Hooks:
    """What stands at each place during one call of the UNet; the first of several is the outermost, or comes first."""

    self_attention: tuple[AroundSelfAttention, ...] = ()
    cross_attention: tuple[AroundCrossAttention, ...] = ()
    inner: tuple[AroundInner, ...] = ()
    join: tuple[Join, ...] = ()
    after: tuple[After, ...] = ()
    sources: tuple[Sources, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


NO_HOOKS = Hooks()


def all_hooks(many: Iterable[Hooks]) -> Hooks:
    """The hooks of several features at once, in order."""
    hooks = [each for each in many if each]
    if not hooks:
        return NO_HOOKS
    return Hooks(*(sum((getattr(each, field.name) for each in hooks), ()) for field in fields(Hooks)))


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the UNet in a sampling run.

    x: [B, 4, h, w], the noisy latents. sigma: their noise level. owners: which conditioning (its position among those
    asked for) each of the n chunks of B rows belongs to. asked: those conditionings. parts: what tells calls apart,
    equal for two that are for the same prompts in the same part of the picture.
    """

    x: Tensor
    sigma: float
    owners: tuple[int, ...]
    asked: tuple[Conditioning, ...] = ()
    parts: Hashable = ()


HooksForCall = Callable[[Call], Hooks]


class Attachment(Protocol):
    """A feature on a Model. Immutable; what it must remember from call to call lives in what `begin` returns."""

    def begin(self) -> HooksForCall:
        """Start a sampling run: what gives the hooks for each of its UNet calls."""
        ...
