"""CFG++: the step follows the guided x0, and the noise that is left is the one predicted without the prompt.

Chung et al. 2024 ("CFG++: Manifold-constrained Classifier Free Guidance"), algorithm 2: x0 from guidance, and renoising
by the unconditional noise, so that a scale near 1 does what classifier-free guidance needs 7 for.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import (
    GuidedDenoise,
    Step,
    ancestral_split,
    distinct_levels,
    slope,
    towards,
    with_uncond,
)


def euler_cfg_pp(denoise: GuidedDenoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Algorithm 2 of the paper, which is DDIM of it."""
    return euler_ancestral_cfg_pp(denoise, x, sigmas, noise, eta=0.0)


def euler_ancestral_cfg_pp(
    denoise: GuidedDenoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """The same to below the next level, then noise up to it."""
    for sigma, after in pairwise(sigmas.tolist()):
        denoised, uncond = with_uncond(denoise, x, sigma)
        down, up = ancestral_split(sigma, after, eta)
        x = denoised + slope(x, uncond, sigma) * down
        if up > 0 and s_noise > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, denoised)


def dpmpp_2s_ancestral_cfg_pp(
    denoise: GuidedDenoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """DPM-Solver++(2S), ancestral (see dpmpp_2s_ancestral), of x moved by what guidance adds, which makes it CFG++."""
    for sigma, after in pairwise(sigmas.tolist()):
        denoised, uncond = with_uncond(denoise, x, sigma)
        down, up = ancestral_split(sigma, after, eta)
        target = denoised
        if down > 0:
            middle = math.sqrt(sigma * down)
            halfway = towards(denoised, x + (denoised - uncond), sigma, middle)
            # What guidance adds to x counts from the uncond of the middle: existing workflows depend on these numbers.
            target, uncond = with_uncond(denoise, halfway, middle)
        x = towards(target, x + (denoised - uncond), sigma, down)
        if after > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, denoised)


def dpmpp_2m_cfg_pp(denoise: GuidedDenoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """DPM-Solver++(2M) (see dpmpp_2m) with the noise of the prediction without the prompt.

    The difference to the last step is taken from the guided to the earlier unguided x0, as existing workflows expect.
    """
    previous: tuple[Tensor, float] | None = None
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised, uncond = with_uncond(denoise, x, sigma)
        x = denoised + (x - uncond) * (after / sigma)
        if previous is not None and after > 0:
            earlier, earlier_sigma = previous
            ratio = math.log(earlier_sigma / sigma) / math.log(sigma / after)
            x = x + (denoised - earlier) * ((1 - after / sigma) / (2 * ratio))
        previous = uncond, sigma
        yield Step(x, denoised)
