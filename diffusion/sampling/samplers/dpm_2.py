"""DPM-Solver-2: each step taken with the slope at the geometric middle of its two noise levels."""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Churn, Denoise, Step, ancestral_split, slope


def dpm_2(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """After Lu et al. 2022 (DPM-Solver), algorithm 1, r = 1/2, as a midpoint rule in sigma; churn as in Karras et al.

    Two model calls a step, one for a step to zero.
    """
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
    for sigma, after in pairwise(sigmas.tolist()):
        x, raised = churn(x, sigma, steps=len(sigmas) - 1, noise=noise)
        denoised = denoise(x, raised)
        x = _midpoint(denoise, x, denoised, raised, after)
        yield Step(x, denoised)


def dpm_2_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """The same step to below the next level, then noise up to it."""
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        down, up = ancestral_split(sigma, after, eta)
        x = _midpoint(denoise, x, denoised, sigma, down)
        if up > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, denoised)


def _midpoint(denoise: Denoise, x: Tensor, denoised: Tensor, sigma: float, after: float) -> Tensor:
    here = slope(x, denoised, sigma)
    if after == 0:
        return x + here * (after - sigma)
    middle = math.sqrt(sigma * after)
    halfway = x + here * (middle - sigma)
    return x + slope(halfway, denoise(halfway, middle), middle) * (after - sigma)
