"""An older variant of Euler's method with CFG++, which steps away from the prediction without the prompt."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import GuidedDenoise, Step, slope, with_uncond


def euler_pp(denoise: GuidedDenoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Along the slope of x - x0 + uncond, which existing workflows know as SamplerEulerCFG++, alternative."""
    for sigma, after in pairwise(sigmas.tolist()):
        denoised, uncond = with_uncond(denoise, x, sigma)
        x = x + slope(x - denoised + uncond, denoised, sigma) * (after - sigma)
        yield Step(x, denoised)
