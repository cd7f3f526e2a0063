"""Gradient estimation: Euler steps with the slope extrapolated from the last two."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, GuidedDenoise, Step, slope, with_uncond


def gradient_estimation(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, ge_gamma: float = 2.0
) -> Iterator[Step]:
    """Permenter and Yuan 2024 ("Interpreting and Improving Diffusion Models from an Optimization Perspective"), alg. 2.

    ge_gamma: how far the new slope goes past the last one; 1 is Euler. One model call a step.
    """
    last: Tensor | None = None
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        here = slope(x, denoised, sigma)
        if after == 0:
            x = denoised
        else:
            estimated = here if last is None else last + (here - last) * ge_gamma
            x = x + estimated * (after - sigma)
        last = here
        yield Step(x, denoised)


def gradient_estimation_cfg_pp(
    denoise: GuidedDenoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, ge_gamma: float = 2.0
) -> Iterator[Step]:
    """The same with CFG++ (see cfg_pp): slopes of the prediction without the prompt."""
    last: Tensor | None = None
    for sigma, after in pairwise(sigmas.tolist()):
        denoised, uncond = with_uncond(denoise, x, sigma)
        here = slope(x, uncond, sigma)
        x = denoised + here * after
        if last is not None and after > 0:
            x = x + (here - last) * ((ge_gamma - 1) * (after - sigma))
        last = here
        yield Step(x, denoised)
