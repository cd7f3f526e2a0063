"""Euler's method along the probability flow, plain, with noise added back, and under the names it was published by."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Churn, Denoise, Step, ancestral_split, slope


def euler(
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
    """Karras et al. 2022, algorithm 2 without its correction."""
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
    for sigma, after in pairwise(sigmas.tolist()):
        x, raised = churn(x, sigma, steps=len(sigmas) - 1, noise=noise)
        denoised = denoise(x, raised)
        x = x + slope(x, denoised, raised) * (after - raised)
        yield Step(x, denoised)


def euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """An Euler step to below the next level, then noise up to it."""
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        down, up = ancestral_split(sigma, after, eta)
        x = x + slope(x, denoised, sigma) * (down - sigma)
        if up > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, denoised)


def ddim(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 0.0
) -> Iterator[Step]:
    """Song et al. 2021, eq. 12: in variance exploding form, ancestral Euler with no noise by default."""
    return euler_ancestral(denoise, x, sigmas, noise, eta=eta)


def ddpm(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Ho et al. 2020, algorithm 2, with the variance of eq. 7: ancestral Euler (Song et al. 2021, eq. 16, eta 1)."""
    return euler_ancestral(denoise, x, sigmas, noise)


def lcm(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Luo et al. 2023 (LCM), algorithm 3: all the way to x0, then all noise anew. For few steps of distilled models."""
    for sigma, after in pairwise(sigmas.tolist()):
        x = denoised = denoise(x, sigma)
        if after > 0:
            x = denoised + noise(sigma, after) * after
        yield Step(x, denoised)
