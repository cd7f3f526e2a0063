"""SEEDS: single-step exponential solvers of the reverse stochastic equation that need no derivatives.

Gonzalez et al. 2023 ("SEEDS: Exponential SDE Solvers for Fast High-Quality Sampling from Diffusion Models"), in its
form for the prediction of x0, variance exploding, lambda = -log(sigma). eta scales the noise: 0 is the probability
flow, 1 the reverse equation. The noise of a step's stages is one path: later stages contain that of earlier ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, distinct_levels


@dataclass(frozen=True)
class _Interval:
    """One step: from sigma over h in lambda, with noise of strength eta."""

    sigma: float
    h: float
    eta: float

    def level(self, share: float) -> float:
        """The noise level at a share of the way."""
        return self.sigma * math.exp(-self.h * share)

    def kept(self, share: float) -> float:
        """How much of x is left there."""
        return math.exp(-self.h * share * (1 + self.eta))

    def phi_1(self, share: float) -> float:
        """The integral of exp(s - s_end) ds to there."""
        return -math.expm1(-share * self.h * (1 + self.eta))

    def phi_2(self, share: float) -> float:
        """The integral of exp(s - s_end) s / s_end ds to there."""
        length = share * self.h * (1 + self.eta)
        return math.expm1(-length) / length + 1


class _Path:
    """The noise of one step, stage by stage, in units of the level where it is asked."""

    def __init__(self, interval: _Interval, noise: StepNoise, s_noise: float) -> None:
        self._interval, self._noise, self._s_noise = interval, noise, s_noise
        self._share = 0.0
        self._total: Tensor | float = 0.0

    def at(self, share: float) -> Tensor | float:
        """What to add to x at a share of the way; shares ascend."""
        interval = self._interval
        if interval.eta <= 0 or self._s_noise <= 0:
            return 0.0
        decay = (share - self._share) * interval.h * interval.eta
        fresh = self._noise(interval.level(self._share), interval.level(share))
        self._total = self._total * math.exp(-decay) + fresh * math.sqrt(max(-math.expm1(-2 * decay), 0.0))
        self._share = share
        return self._total * (interval.level(share) * self._s_noise)


def seeds_2(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 0.5,
    solver_type: Literal["phi_1", "phi_2"] = "phi_1",
) -> Iterator[Step]:
    """SEEDS-2: two stages, the second at a share r of the step in lambda. Two model calls a step, or one to zero.

    r: above 0, up to 1. solver_type: how the change of x0 over the step is weighed: at its middle, or by its integral.
    """
    if not 0 < r <= 1:
        raise ValueError(f"seeds_2's r, the place of its middle stage, must be above 0 and up to 1; got {r}.")
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        step = _Interval(sigma, math.log(sigma / after), eta)
        path = _Path(step, noise, s_noise)
        middle = x * step.kept(r) + denoised * step.phi_1(r) + path.at(r)
        change = denoise(middle, step.level(r)) - denoised
        weight = step.phi_2(1) / r if solver_type == "phi_2" else step.phi_1(1) / (2 * r)
        x = x * step.kept(1) + denoised * step.phi_1(1) + change * weight + path.at(1)
        yield Step(x, denoised)


def seeds_3(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r_1: float = 1 / 3,
    r_2: float = 2 / 3,
) -> Iterator[Step]:
    """SEEDS-3: three stages, at shares 0, r_1 and r_2 of the step. Three model calls a step, one for a step to zero.

    0 < r_1 < r_2 < 1.
    """
    if not 0 < r_1 < r_2 < 1:
        raise ValueError(f"seeds_3 needs 0 < r_1 < r_2 < 1; got r_1 = {r_1}, r_2 = {r_2}.")
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        step = _Interval(sigma, math.log(sigma / after), eta)
        path = _Path(step, noise, s_noise)
        first = x * step.kept(r_1) + denoised * step.phi_1(r_1) + path.at(r_1)
        change = denoise(first, step.level(r_1)) - denoised
        second = x * step.kept(r_2) + denoised * step.phi_1(r_2) + change * (r_2 / r_1 * step.phi_2(r_2))
        second = second + path.at(r_2)
        change = denoise(second, step.level(r_2)) - denoised
        x = x * step.kept(1) + denoised * step.phi_1(1) + change * (step.phi_2(1) / r_2) + path.at(1)
        yield Step(x, denoised)
