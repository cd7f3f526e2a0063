"""Model, Clip and Vae: the small immutable values that flow between nodes in place of networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from diffusion.config import TextConfig, TinyVAEConfig, UNetConfig, VAEConfig
from diffusion.patches import WeightPatch
from diffusion.sampling.inpaint import MaskRule
from diffusion.sampling.prediction import NOISE, Prediction, Training
from diffusion.sampling.schedule.trained import NoiseSchedule, stable_diffusion_schedule
from diffusion.sampling.transforms.stages import CLASSIFIER_FREE, Guidance
from diffusion.types import Weights

if TYPE_CHECKING:
    from diffusion.hooks.text import ClipHooks
    from diffusion.networks.attachments import Attachment
    from diffusion.runtime import Runtime
    from diffusion.text.tokenizer import Tokenizer


_HELD_ELSEWHERE = 0
"""What a cache of results should count these as: their weights are mapped files, and the runtime holds the networks."""


@dataclass(frozen=True, eq=False)
class Model:
    """A UNet to be: its weights, the patches upon them, and the runtime that makes the network when one is needed.

    schedule, prediction: the noise levels it was trained at, and what it predicts. guidance: how its predictions
    under two prompts are combined. guided: from which noise level down to which; outside, the positive prompt alone
    is followed. mask_rule: how a noise mask changes along a run; None leaves it as it is. attachments: features that
    stand at places of the UNet while it samples. compiled: the backend of PyTorch's compiler that its blocks run
    through.
    """

    weights: Weights
    config: UNetConfig
    runtime: Runtime
    patches: tuple[WeightPatch, ...] = ()
    schedule: NoiseSchedule = field(default_factory=stable_diffusion_schedule)
    prediction: Prediction = NOISE
    guidance: Guidance = CLASSIFIER_FREE
    guided: tuple[float, float] = (math.inf, 0.0)
    mask_rule: MaskRule | None = None
    attachments: tuple[Attachment, ...] = ()
    compiled: str | None = None
    cache_nbytes: ClassVar[int] = _HELD_ELSEWHERE

    def patched(self, patch: WeightPatch) -> Model:
        """This model with one more weight patch on top. Copies no weights."""
        return replace(self, patches=(*self.patches, patch))

    def trained_as(self, training: Training) -> Model:
        """This model, taken to have been trained at other levels or to predict something else."""
        return replace(self, schedule=training.schedule, prediction=training.prediction)

    def attached(self, attachment: Attachment) -> Model:
        """This model with one more feature on its UNet."""
        return replace(self, attachments=(*self.attachments, attachment))

    def is_guided_at(self, sigma: float) -> bool:
        """Whether guidance applies at this noise level."""
        highest, lowest = self.guided
        return lowest <= sigma <= highest


@dataclass(frozen=True, eq=False)
class Clip:
    """A text encoder to be, with its tokenizer.

    layer: which hidden state conditions the UNet, counted from the end; -1 is the last, -2 the one before it.
    hooks: what changes it along the schedule, and what it puts on prompts.
    """

    weights: Weights
    config: TextConfig
    tokenizer: Tokenizer
    runtime: Runtime
    patches: tuple[WeightPatch, ...] = ()
    layer: int = -1
    hooks: ClipHooks | None = None
    cache_nbytes: ClassVar[int] = _HELD_ELSEWHERE

    def patched(self, patch: WeightPatch) -> Clip:
        """This encoder with one more weight patch on top. Copies no weights."""
        return replace(self, patches=(*self.patches, patch))


@dataclass(frozen=True, eq=False)
class Vae:
    """An autoencoder to be: the full one, or a tiny one that stands in for it."""

    weights: Weights
    config: VAEConfig | TinyVAEConfig
    runtime: Runtime
    cache_nbytes: ClassVar[int] = _HELD_ELSEWHERE
