"""Hooks at work in one sampling run: which UNet reads a prompt at each noise level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from diffusion.hooks.group import Change, Hook, HookGroup, Scaled
from diffusion.hooks.keyframes import Keyframes, Progress
from diffusion.model import Model
from diffusion.networks.attachments import Hooks
from diffusion.networks.attention import Prompt
from diffusion.patches import WeightPatch
from diffusion.sampling.prompted import PromptedUNet
from diffusion.types import Cond, Conditioning

Strengths = tuple[tuple[Change, float], ...]


def begin_hooks(conditionings: Sequence[Conditioning], model: Model, sigmas: Tensor) -> HookRun | None:
    """What gives each prompt its UNet in a run of `model`; None when no prompt has hooks.

    conditionings: all that the run may ask for. sigmas: its noise levels, [n + 1]. Raises LoraError and ValueError for
    changes that do not fit the model.
    """
    entries = [entry for conditioning in conditionings for entry in conditioning.entries]
    hooks = [hook for entry in entries if entry.hooks is not None for hook in entry.hooks.hooks]
    return HookRun(model, hooks, float(sigmas.max())) if hooks else None


@dataclass(frozen=True, eq=False)
class _Variant:
    """The model with hooks at some strengths. Its network is the runtime's, and asked for at every call."""

    strengths: Strengths
    model: Model
    unet: PromptedUNet

    @classmethod
    def of(cls, strengths: Strengths, model: Model) -> _Variant:
        def call(x: Tensor, timestep: Tensor, prompt: Prompt, hooks: Hooks) -> Tensor:
            return model.runtime.unet(model)(x, timestep, prompt, hooks)

        def read(context: Tensor) -> Prompt:
            return model.runtime.unet(model).read(context)

        return cls(strengths, model, PromptedUNet(call, read))


class HookRun:
    """Gives the UNet for a prompt. A group of hooks has one network at a time, whatever the number of strengths that
    it comes by: the one before is let go of first. Layers that no hook changes are those of the plain network."""

    def __init__(self, model: Model, hooks: Sequence[Hook], highest: float) -> None:
        self._model = model
        self._changes: dict[Change, Scaled] = {
            change: change.on_model(model) for change in dict.fromkeys(hook.change for hook in hooks)
        }
        self._progress: dict[Keyframes, Progress] = {
            hook.keyframes: hook.keyframes.begin(model.schedule, highest) for hook in hooks
        }
        self._current: dict[HookGroup, _Variant] = {}

    def __call__(self, entry: Cond, sigma: float) -> PromptedUNet | None:
        """What reads this prompt at this level; None where that is the plain network."""
        group = entry.hooks
        if group is None:
            return None
        strengths = tuple(
            (hook.change, strength) for hook in group.hooks if (strength := self._strength(hook, sigma))
        )
        if not strengths:
            return None
        current = self._current.get(group)
        if current is None or current.strengths != strengths:
            current = self._taken(group, strengths)
        return current.unet

    def _strength(self, hook: Hook, sigma: float) -> float:
        return hook.strength_model * self._progress[hook.keyframes].strength_at(sigma)

    def _taken(self, group: HookGroup, strengths: Strengths) -> _Variant:
        """The variant of these strengths, in the group's place of the one before."""
        former = self._current.pop(group, None)
        if former is not None and former not in self._current.values():
            self._model.runtime.forget(former.model)
        made = (variant for variant in self._current.values() if variant.strengths == strengths)
        self._current[group] = next(made, None) or _Variant.of(strengths, self._patched(strengths))
        return self._current[group]

    def _patched(self, strengths: Strengths) -> Model:
        patches: tuple[WeightPatch, ...] = tuple(
            patch for change, strength in strengths for patch in self._changes[change](strength)
        )
        return replace(self._model, patches=(*self._model.patches, *patches))
