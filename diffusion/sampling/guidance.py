"""Guiders: how the predictions for several prompts become the one that a sampler follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.inpaint import Region
from diffusion.types import Conditioning

Predict = Callable[[Tensor, float, Sequence[Conditioning]], Sequence[Tensor]]
"""(x, sigma, conditionings) -> x0 under each (see Denoiser.predict)."""


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

    def guide(self, predict: Predict, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Guided:
        """x0 for the sampler to follow. with_uncond: `uncond` must be there, though guidance does without it."""
        ...


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
        if not math.isfinite(self.scale):
            raise ValueError(f"The guidance scale (cfg) must be a number, 7.5 say; got {self.scale}.")

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        return self.positive, self.negative

    def guide(self, predict: Predict, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Guided:
        start, end = self.model.guided
        outside = not end <= sigma <= start
        if (outside or math.isclose(self.scale, 1.0)) and not with_uncond:
            return Guided(*predict(x, sigma, [self.positive]))
        cond, uncond = predict(x, sigma, [self.positive, self.negative])
        return Guided(uncond + (cond - uncond) * (1.0 if outside else self.scale), uncond)


@dataclass(frozen=True, eq=False)
class GuidedDenoiser:
    """The `denoise(x, sigma)` that samplers are given: guided, and held to a region when there is a mask."""

    guider: Guider
    predict: Predict
    region: Region | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.guided(x, sigma).denoised

    def guided(self, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Guided:
        """For samplers that also use the prediction without the prompt (which knows nothing of the region)."""
        if self.region is None:
            return self.guider.guide(self.predict, x, sigma, with_uncond=with_uncond)
        guided = self.guider.guide(self.predict, self.region.noised(x, sigma), sigma, with_uncond=with_uncond)
        return Guided(self.region.restored(guided.denoised), guided.uncond)
