"""Perp-Neg: only what is perpendicular to the prompt is led away from (Armandpour et al. 2023, eq. 7 and 8)."""

from dataclasses import dataclass

from torch import Tensor

from diffusion.sampling.transforms.stages import Predicted
from diffusion.types import Conditioning


def perpendicular_guidance(
    positive: Tensor, negative: Tensor, empty: Tensor, *, scale: float, neg_scale: float
) -> Tensor:
    """x0 led from `empty` towards `positive` by `scale`, and from the part of `negative` that is at a right angle.

    neg_scale: how strongly from that part. The angle is that of the whole batch, as existing workflows have it.
    """
    towards, away = positive - empty, negative - empty
    length = towards.square().sum()
    if length > 0:
        away = away - (away * towards).sum() / length * towards
    return empty + scale * (towards - neg_scale * away)


@dataclass(frozen=True, eq=False)
class PerpendicularNegative:
    """The same as a change to a model: uncond is the negative prompt, `empty` is asked for on its own."""

    empty: Conditioning
    neg_scale: float

    def __call__(self, seen: Predicted) -> Tensor:
        (empty,) = seen.predict(seen.x, seen.sigma, [self.empty])
        negative = empty if seen.uncond is None else seen.uncond
        return perpendicular_guidance(seen.cond, negative, empty, scale=seen.scale, neg_scale=self.neg_scale)
