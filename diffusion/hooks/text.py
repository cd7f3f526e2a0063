"""Hooks on a text encoder: prompts that are encoded with changed weights, and carry hooks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from diffusion.hooks.group import Hook, HookGroup, Scaled
from diffusion.hooks.keyframes import Keyframe
from diffusion.model import Clip
from diffusion.patches import WeightPatch
from diffusion.types import Cond


@dataclass(frozen=True, eq=False)
class ClipHooks:
    """What hooks do to a text encoder.

    on_prompts: they ride on the prompts that it encodes, and change the UNet for them. scheduled: a prompt is encoded
    once for each part of the schedule whose keyframes differ; otherwise once, with the hooks at their own strength.
    """

    group: HookGroup
    on_prompts: bool = True
    scheduled: bool = False


def encoded(clip: Clip, read: Callable[[Clip], Cond]) -> tuple[Cond, ...]:
    """What `read` makes of a prompt with this encoder: one entry, or one for each part of the schedule.

    Raises LoraError and ValueError for hooks that do not fit the encoder.
    """
    hooks = clip.hooks
    if hooks is None:
        return (read(clip),)
    plain, carried = replace(clip, hooks=None), hooks.group if hooks.on_prompts else None
    changes = {hook: hook.change.on_clip(clip) for hook in hooks.group.hooks}
    found, former = [], None
    for start, end, factors in _schedule(hooks.group) if hooks.scheduled else _always(hooks.group):
        patches = _patches(changes, factors)
        if former is not None:
            clip.runtime.forget(former)
        changed = replace(plain, patches=(*clip.patches, *patches))
        entry = read(changed)
        former = changed if patches else None
        found.append(replace(entry, scope=replace(entry.scope, text_range=(start, end)), hooks=carried))
    return tuple(found)


Part = tuple[float, float, Mapping[Hook, float]]
"""A part of the schedule, from and to, with what each hook's strength is multiplied by there."""


def _always(group: HookGroup) -> Iterator[Part]:
    yield 0.0, 1.0, dict.fromkeys(group.hooks, 1.0)


def _patches(changes: Mapping[Hook, Scaled], factors: Mapping[Hook, float]) -> tuple[WeightPatch, ...]:
    strengths = {hook: hook.strength_clip * factors[hook] for hook in changes}
    return tuple(
        patch for hook, strength in strengths.items() if strength for patch in changes[hook](strength)
    )


def _schedule(group: HookGroup) -> Iterator[Part]:
    """The parts between keyframes. Before a hook's first one its strength is its own."""
    stretches = {hook: hook.keyframes.stretches() for hook in group.hooks}
    bounds = {bound for parts in stretches.values() for start, end, _ in parts for bound in (start, end)}
    for start, end in pairwise(sorted({0.0, 1.0} | bounds)):
        yield start, end, {hook: _factor(parts, start, end) for hook, parts in stretches.items()}


def _factor(parts: Sequence[tuple[float, float, Keyframe]], start: float, end: float) -> float:
    return next((frame.strength for first, last, frame in parts if first < end and last > start), 1.0)
