"""Hooks: changes of a model's weights that hold only for the prompts that they ride on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from diffusion.hooks.keyframes import Keyframes
from diffusion.model import Clip, Model
from diffusion.patches import WeightPatch
from diffusion.types import Conditioning

Scaled = Callable[[float], tuple[WeightPatch, ...]]
"""The patches that make a change at a strength."""


class Change(Protocol):
    """A change of weights. Immutable, and known by its identity: a group holds each once."""

    def on_model(self, model: Model) -> Scaled:
        """For this model's weights. Raises an error that says why where it does not fit them."""
        ...

    def on_clip(self, clip: Clip) -> Scaled:
        """For this text encoder's weights, likewise."""
        ...


@dataclass(frozen=True, eq=False)
class Hook:
    """A change, how strong it is on the UNet and on the text encoder, and what that is multiplied by along a run."""

    change: Change
    strength_model: float = 1.0
    strength_clip: float = 1.0
    keyframes: Keyframes = field(default_factory=Keyframes)


@dataclass(frozen=True, eq=False)
class HookGroup:
    """The hooks of a prompt, applied in order."""

    hooks: tuple[Hook, ...] = ()
    cache_nbytes: ClassVar[int] = 0
    """Their weights are mapped files."""

    def joined(self, other: HookGroup | None) -> HookGroup:
        """These and those of another; a change that both hold stays as it is here."""
        known = {hook.change for hook in self.hooks}
        more = () if other is None else tuple(hook for hook in other.hooks if hook.change not in known)
        return HookGroup((*self.hooks, *more)) if more else self

    def scheduled(self, keyframes: Keyframes) -> HookGroup:
        """All of them by the same keyframes, in step with one another."""
        own = Keyframes(keyframes.frames)
        return HookGroup(tuple(replace(hook, keyframes=own) for hook in self.hooks))


def hooked(conditioning: Conditioning, group: HookGroup | None) -> Conditioning:
    """The conditioning with these hooks on its prompts, beside those that they have."""
    if group is None or not group.hooks:
        return conditioning
    return Conditioning(
        tuple(
            replace(entry, hooks=group if entry.hooks is None else entry.hooks.joined(group))
            for entry in conditioning.entries
        )
    )
