"""Heun's method: each Euler step corrected by the slope at its end."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Churn, Denoise, Step, slope


def heun(
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
    """Karras et al. 2022, algorithm 2. Two model calls a step, one for a step to zero."""
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
    for sigma, after in pairwise(sigmas.tolist()):
        x, raised = churn(x, sigma, steps=len(sigmas) - 1, noise=noise)
        denoised = denoise(x, raised)
        here = slope(x, denoised, raised)
        if after > 0:
            ahead = x + here * (after - raised)
            here = (here + slope(ahead, denoise(ahead, after), after)) / 2
        x = x + here * (after - raised)
        yield Step(x, denoised)
