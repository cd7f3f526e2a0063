"""DPM-Solver++: exponential integrators in the logarithm of the noise level, for the prediction of x0."""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Lu et al. 2022 (DPM-Solver++), algorithm 2: second order, from the last two predictions. One model call a step.

    The first step and a step to zero are of first order.
    """
    previous: tuple[Tensor, float] | None = None
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        target = denoised
        if previous is not None and after > 0:
            earlier, earlier_sigma = previous
            # Both step lengths in lambda = -log(sigma).
            ratio = math.log(earlier_sigma / sigma) / math.log(sigma / after)
            target = denoised + (denoised - earlier) / (2 * ratio)
        x = x * (after / sigma) + target * (1 - after / sigma)
        previous = denoised, sigma
        yield Step(x, denoised)
