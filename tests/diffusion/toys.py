"""Denoisers simple enough to be solved by hand, in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diffusion.sampling.guidance import Guided
from diffusion.sampling.samplers import run_steps, sampler_with

MEAN, SPREAD = 0.7, 0.5


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The exact denoiser of data drawn from N(MEAN, SPREAD^2)."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def gaussian_flow(x: Tensor, start: float, end: float) -> Tensor:
    """Where the probability flow of that data takes x from noise level `start` to `end`."""
    return MEAN + (x - MEAN) * ((SPREAD**2 + end**2) / (SPREAD**2 + start**2)) ** 0.5


def curved(x: Tensor, sigma: float) -> Tensor:
    """A denoiser that mixes neighbours, nonlinear in x and sigma: nothing about it is special."""
    return torch.tanh(x / (1 + sigma**2) ** 0.5 + 0.3 * torch.roll(x, 1, -1) / (1 + sigma)) * (
        1 + 0.1 * sigma
    )


class Unguided:
    """A denoiser with nothing to lead it away from: without the prompt, it predicts the same."""

    def __init__(self, denoise: Callable[[Tensor, float], Tensor]) -> None:
        self.denoise = denoise

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoise(x, sigma)

    def guided(self, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Guided:
        denoised = self.denoise(x, sigma)
        return Guided(denoised, denoised)


class Toy:
    """`curved` with guidance: led away from a second denoiser, as a prompt is from the negative one."""

    scale = 1.5

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.guided(x, sigma).denoised

    def guided(self, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Guided:
        cond, uncond = curved(x, sigma), 0.8 * torch.sin(x / (1 + sigma**2) ** 0.5 + 0.2)
        return Guided(uncond + (cond - uncond) * self.scale, uncond)


def start(seed: int = 0) -> Tensor:
    return torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(
    name: str,
    sigmas: Sequence[float] | Tensor,
    *,
    x: Tensor,
    denoise: Callable[[Tensor, float], Tensor] = curved,
    seed: int = 0,
    **options: Any,
) -> Tensor:
    """The sampler's result on a toy denoiser."""
    levels = torch.as_tensor(sigmas, dtype=torch.float64)
    sampler = sampler_with(name, **options)
    steps = sampler.steps(Unguided(denoise), x, levels, sampler.noise(x, levels, seed))
    return run_steps(steps, x, total=len(levels) - 1)
