"""RES, the refined exponential solver, as a two-step method: plain, ancestral, and both with CFG++.

Zhang et al. 2023 ("Improved Order Analysis and Design of Exponential Integrator for Diffusion Models Sampling"): second
order from the last two predictions of x0, lambda = -log(sigma). One model call a step. CFG++ as in cfg_pp.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import (
    Denoise,
    GuidedDenoise,
    Step,
    ancestral_split,
    distinct_levels,
    with_uncond,
)

_Predict = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""(x, sigma) -> x0 to follow, and x0 that says what noise is left."""


def res_multistep(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, s_noise: float = 1.0
) -> Iterator[Step]:
    """The solver for the probability flow. s_noise is there for workflows that give it: no noise is added."""
    return _steps(_plain(denoise), x, sigmas, noise, eta=0.0, s_noise=s_noise)


def res_multistep_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """The same to below the next level, then noise up to it."""
    return _steps(_plain(denoise), x, sigmas, noise, eta=eta, s_noise=s_noise)


def res_multistep_cfg_pp(
    denoise: GuidedDenoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, s_noise: float = 1.0
) -> Iterator[Step]:
    """res_multistep with CFG++."""
    return _steps(_guided(denoise), x, sigmas, noise, eta=0.0, s_noise=s_noise)


def res_multistep_ancestral_cfg_pp(
    denoise: GuidedDenoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """res_multistep_ancestral with CFG++."""
    return _steps(_guided(denoise), x, sigmas, noise, eta=eta, s_noise=s_noise)


def _plain(denoise: Denoise) -> _Predict:
    def predict(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        denoised = denoise(x, sigma)
        return denoised, denoised

    return predict


def _guided(denoise: GuidedDenoise) -> _Predict:
    return lambda x, sigma: with_uncond(denoise, x, sigma)


def _steps(
    predict: _Predict, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float, s_noise: float
) -> Iterator[Step]:
    previous: tuple[Tensor, float, float] | None = None
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised, base = predict(x, sigma)
        down, up = ancestral_split(sigma, after, eta)
        if down == 0 or previous is None:
            x = denoised + (x - base) * (down / sigma)
        else:
            earlier, earlier_sigma, earlier_down = previous
            now, then = _weights(math.log(sigma / down), _log_ratio(earlier_down, earlier_sigma))
            x = (x + (denoised - base)) * (down / sigma) + base * now + earlier * then
        if up > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        previous = base, sigma, down
        yield Step(x, denoised)


def _weights(h: float, distance: float) -> tuple[float, float]:
    """Of the newest and of the earlier x0 for a step of length h in lambda.

    distance: from where the last step aimed back to where it began, in lambda; negative.
    """
    phi_1 = -math.expm1(-h) / h
    phi_2 = (phi_1 - 1) / -h
    then = phi_2 * h / distance
    return h * (phi_1 - then), h * then


def _log_ratio(sigma: float, other: float) -> float:
    return math.log(sigma / other) if sigma > 0 else -math.inf
