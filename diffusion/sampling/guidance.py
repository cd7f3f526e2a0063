"""Guiders: how the predictions for several prompts become the one that a sampler follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.guiders.scales import check_scale
from diffusion.sampling.inpaint import Region
from diffusion.sampling.transforms.stages import Memory, Predict, Predicted
from diffusion.types import Conditioning


@dataclass(frozen=True, eq=False)
class Guided:
    """What to follow, and x0 without the prompt where it was computed: [B, 4, h, w] float32."""

    denoised: Tensor
    uncond: Tensor | None = None


class Guider(Protocol):
    """A model and what to ask of it. An immutable value, so that it can flow along a link."""

    @property
    def model(self) -> Model: ...

    @property
    def conditionings(self) -> Sequence[Conditioning]:
        """All that it may ask for."""
        ...

    def guide(
        self,
        predict: Predict,
        x: Tensor,
        sigma: float,
        *,
        memory: Memory | None = None,
        with_uncond: bool = False,
    ) -> Guided:
        """x0 for the sampler to follow: where `model.is_guided_at` says no, that under the positive prompt.

        memory: of this run; None begins one. with_uncond: `uncond` must be there, though guidance does without it.
        """
        ...


def positive_alone(
    predict: Predict, x: Tensor, sigma: float, positive: Conditioning, uncond: Conditioning | None = None
) -> Guided:
    """What every guider follows at noise levels where its model is not guided, whatever changes its guidance.

    uncond: for samplers that want to know what lies without the prompt.
    """
    asked = [positive] if uncond is None else [positive, uncond]
    return Guided(*predict(x, sigma, asked))


@dataclass(frozen=True, eq=False)
class CFG:
    """Classifier-free guidance (Ho and Salimans 2022): away from the negative prompt by `scale`.

    scale: 1 follows the positive prompt alone, and costs half. Raises ValueError when it is not finite.
    """

    model: Model
    positive: Conditioning
    negative: Conditioning
    scale: float

    def __post_init__(self) -> None:
        check_scale(self.scale, "cfg")

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        return self.positive, self.negative, *self.model.guidance.conditionings

    def guide(
        self,
        predict: Predict,
        x: Tensor,
        sigma: float,
        *,
        memory: Memory | None = None,
        with_uncond: bool = False,
    ) -> Guided:
        if not self.model.is_guided_at(sigma):
            return positive_alone(predict, x, sigma, self.positive, self.negative if with_uncond else None)
        guidance = self.model.guidance
        alone = math.isclose(self.scale, 1.0) and not (with_uncond or guidance.needs_uncond)
        kept: Memory = {} if memory is None else memory
        asked = [self.positive] if alone else [self.positive, self.negative]
        cond, *rest = guidance.watching(predict, kept)(x, sigma, asked)
        uncond = rest[0] if rest else None
        seen = Predicted(x, sigma, self.scale, cond, uncond, predict, kept, self.positive, self.negative)
        seen = guidance.prepared(seen)
        return Guided(guidance.applied(seen), seen.uncond)


@dataclass(frozen=True, eq=False)
class GuidedDenoiser:
    """The `denoise(x, sigma)` that samplers are given: guided, and held to a region when there is a mask."""

    guider: Guider
    predict: Predict
    region: Region | None = None
    memory: Memory = field(default_factory=dict)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.guided(x, sigma).denoised

    def guided(self, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Guided:
        """For samplers that also use the prediction without the prompt (which knows nothing of the region)."""
        region = None if self.region is None else self.region.at(sigma)
        seen = x if region is None else region.noised(x, sigma)
        guided = self.guider.guide(self.predict, seen, sigma, memory=self.memory, with_uncond=with_uncond)
        return guided if region is None else Guided(region.restored(guided.denoised), guided.uncond)
