"""Guidance by three prompts at two scales, as InstructPix2Pix has it (Brooks et al. 2023, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.guidance import Guided, positive_alone
from diffusion.sampling.guiders.scales import check_scale
from diffusion.sampling.transforms.stages import Memory, Predict, Predicted
from diffusion.types import Conditioning


@dataclass(frozen=True, eq=False)
class DualCFG:
    """From `negative` to `middle` by one scale, and on to `positive` by another.

    scale: of the difference between positive and middle; middle_scale: between middle and negative. nested: away from
    `negative` to where guidance from middle to positive leads; else the two differences are added. The model's own
    changes apply to the one of them that is combined by guidance. Raises ValueError for scales that are not finite.
    """

    model: Model
    positive: Conditioning
    middle: Conditioning
    negative: Conditioning
    scale: float
    middle_scale: float
    nested: bool = False

    def __post_init__(self) -> None:
        check_scale(self.scale, "cfg_conds")
        check_scale(self.middle_scale, "cfg_cond2_negative")

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        return self.positive, self.middle, self.negative, *self.model.guidance.conditionings

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
            without = self.middle if self.nested else self.negative
            return positive_alone(predict, x, sigma, self.positive, without if with_uncond else None)
        kept: Memory = {} if memory is None else memory
        if self.nested:
            return self._nested(predict, x, sigma, kept)
        cond, *rest = self.model.guidance.watching(predict, kept)(x, sigma, self._asked(with_uncond))
        middle = rest[0] if rest else cond
        negative = rest[1] if len(rest) > 1 else None
        prompts = (self.middle if rest else self.positive, self.negative)
        seen = Predicted(x, sigma, self.middle_scale, middle, negative, predict, kept, *prompts)
        led = self.model.guidance.applied(seen)
        return Guided(led + (cond - middle) * self.scale, negative)

    def _asked(self, with_uncond: bool) -> Sequence[Conditioning]:
        """Without those that scales of 1 make no use of: then the differences cancel out."""
        if with_uncond or self.model.guidance.needs_uncond or not math.isclose(self.middle_scale, 1.0):
            return self.positive, self.middle, self.negative
        return (self.positive,) if math.isclose(self.scale, 1.0) else (self.positive, self.middle)

    def _nested(self, predict: Predict, x: Tensor, sigma: float, memory: Memory) -> Guided:
        asked = [self.positive, self.middle, self.negative]
        cond, middle, negative = self.model.guidance.watching(predict, memory)(x, sigma, asked)
        seen = Predicted(x, sigma, self.scale, cond, middle, predict, memory, self.positive, self.middle)
        led = self.model.guidance.applied(seen)
        return Guided(negative + (led - negative) * self.middle_scale, middle)
