"""DPM-Solver++: exponential integrators in the logarithm of the noise level, for the prediction of x0."""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, ancestral_split, distinct_levels, towards


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Lu et al. 2022 (DPM-Solver++), algorithm 2: second order, from the last two predictions. One model call a step.

    The first step and a step to zero are of first order.
    """
    previous: tuple[Tensor, float] | None = None
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised = denoise(x, sigma)
        target = denoised
        if previous is not None and after > 0:
            earlier, earlier_sigma = previous
            # Both step lengths in lambda = -log(sigma).
            ratio = math.log(earlier_sigma / sigma) / math.log(sigma / after)
            target = denoised + (denoised - earlier) / (2 * ratio)
        x = towards(target, x, sigma, after)
        previous = denoised, sigma
        yield Step(x, denoised)


def dpmpp_2s_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Lu et al. 2022 (DPM-Solver++), algorithm 1, r = 1/2, to below the next level, then noise up to it.

    Two model calls a step, one for a step to zero.
    """
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = target = denoise(x, sigma)
        down, up = ancestral_split(sigma, after, eta)
        if down > 0:
            middle = math.sqrt(sigma * down)
            target = denoise(towards(denoised, x, sigma, middle), middle)
        x = towards(target, x, sigma, down)
        if after > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, denoised)
