"""Perp-Neg as a guider: positive, negative and empty prompt in one call of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.guidance import Guided, positive_alone
from diffusion.sampling.guiders.scales import check_scale
from diffusion.sampling.transforms.perpendicular import perpendicular_guidance
from diffusion.sampling.transforms.stages import Memory, Predict, Predicted
from diffusion.types import Conditioning


@dataclass(frozen=True, eq=False)
class PerpNeg:
    """Away from `empty` towards `positive` by `scale`, and from what in `negative` is not part of `positive`.

    neg_scale: how strongly from that; 0 leaves the negative prompt out. See transforms.perpendicular. The model's own
    changes before and after combination apply, another way to combine does not. Raises ValueError for scales that are
    not finite.
    """

    model: Model
    positive: Conditioning
    negative: Conditioning
    empty: Conditioning
    scale: float
    neg_scale: float

    def __post_init__(self) -> None:
        check_scale(self.scale, "cfg")
        check_scale(self.neg_scale, "neg_scale")

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        return self.positive, self.negative, self.empty, *self.model.guidance.conditionings

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
        with_negative = with_uncond or guidance.needs_uncond or not math.isclose(self.neg_scale, 0.0)
        asked = [self.positive, self.empty, *([self.negative] if with_negative else [])]
        kept: Memory = {} if memory is None else memory
        cond, empty, *rest = guidance.watching(predict, kept)(x, sigma, asked)
        uncond = rest[0] if rest else None
        seen = Predicted(x, sigma, self.scale, cond, uncond, predict, kept, self.positive, self.negative)
        seen = guidance.prepared(seen)
        negative = empty if seen.uncond is None else seen.uncond
        led = perpendicular_guidance(
            seen.cond, negative, empty, scale=self.scale, neg_scale=self.neg_scale if rest else 0.0
        )
        return Guided(guidance.finished(seen, led), seen.uncond)
