"""What hooks change weights by: LoRAs, and other checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffusion.hooks.group import Scaled
from diffusion.lora.apply import apply_lora
from diffusion.lora.patch import LoraPatch
from diffusion.lora.read import Lora
from diffusion.merging import Shares, Sum, all_weights, merged_models, merged_text_encoders
from diffusion.model import Clip, Model
from diffusion.patches import WeightPatch

_MERGED = 0.5
"""Any share but those that leave a model as it is: to have two models compared before they are added."""


@dataclass(frozen=True, eq=False)
class LoraChange:
    """What a LoRA file changes."""

    lora: Lora

    def on_model(self, model: Model) -> Scaled:
        changed, _ = apply_lora(model, None, self.lora, strength_model=1.0, strength_clip=0.0)
        assert changed is not None
        return _at_strength(changed.patches[len(model.patches) :])

    def on_clip(self, clip: Clip) -> Scaled:
        _, changed = apply_lora(None, clip, self.lora, strength_model=0.0, strength_clip=1.0)
        assert changed is not None
        return _at_strength(changed.patches[len(clip.patches) :])


@dataclass(frozen=True, eq=False)
class ModelChange:
    """The way from a model's own weights, as its file has them, to those of another checkpoint."""

    model: Model
    clip: Clip

    def on_model(self, model: Model) -> Scaled:
        if model.config.in_channels != self.model.config.in_channels:
            raise ValueError(
                f"The hook's checkpoint takes {self.model.config.in_channels} channels and this model "
                f"{model.config.in_channels}: choose one of the same kind."
            )
        merged_models(model, self.model, all_weights(model, Shares.mixed(_MERGED)))
        return _towards(model, self.model)

    def on_clip(self, clip: Clip) -> Scaled:
        merged_text_encoders(clip, self.clip, all_weights(clip, Shares.mixed(_MERGED)))
        return _towards(clip, self.clip)


def check_strength(strength: float, name: str) -> None:
    """Raises ValueError unless it is finite."""
    if not math.isfinite(strength):
        raise ValueError(f"{name} is a finite number, such as 1.0; got {strength}.")


def _at_strength(patches: Sequence[WeightPatch]) -> Scaled:
    made = [patch for patch in patches if isinstance(patch, LoraPatch)]
    return lambda strength: tuple(replace(patch, strength=strength) for patch in made)


def _towards(own: Model | Clip, other: Model | Clip) -> Scaled:
    """w + strength * (w_other - w_own), as two sums."""

    def scaled(strength: float) -> tuple[WeightPatch, ...]:
        add, subtract = (all_weights(own, Shares(1.0, share)) for share in (strength, -strength))
        return Sum(add, other.weights, other.patches), Sum(subtract, own.weights, ())

    return scaled
