"""A guider that follows one prompt and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.guidance import Guided
from diffusion.sampling.transforms.stages import Memory, Predict, Predicted
from diffusion.types import Conditioning


@dataclass(frozen=True, eq=False)
class Unguided:
    """x0 under `conditioning`. A sampler that asks for the prediction without the prompt is given the same."""

    model: Model
    conditioning: Conditioning

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        return self.conditioning, *self.model.guidance.conditionings

    def guide(
        self,
        predict: Predict,
        x: Tensor,
        sigma: float,
        *,
        memory: Memory | None = None,
        with_uncond: bool = False,
    ) -> Guided:
        guidance = self.model.guidance
        kept: Memory = {} if memory is None else memory
        (cond,) = guidance.watching(predict, kept)(x, sigma, [self.conditioning])
        if not self.model.is_guided_at(sigma):
            return Guided(cond, cond)
        seen = Predicted(x, sigma, 1.0, cond, None, predict, kept, self.conditioning)
        return Guided(guidance.applied(guidance.prepared(seen)), cond)
