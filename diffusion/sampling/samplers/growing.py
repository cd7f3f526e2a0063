"""LCM sampling of a latent that changes its size on the way: the first steps on a small one cost less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from diffusion.latents.resize import resized
from diffusion.sampling.noise import StepNoise, seeded
from diffusion.sampling.samplers.steps import Denoise, Sampler, Step


@dataclass(frozen=True)
class Growth:
    """How a latent grows: evenly up to `ratio` times its sides, a part of it after each of the first `steps` steps.

    steps: None for the first half. method: one of latents.resize.METHODS.
    """

    ratio: float
    steps: int | None
    method: str

    def sizes(self, x: Tensor, sigmas: Tensor) -> list[tuple[int, int]]:
        """(height, width) after each step of a run over `sigmas`, [n + 1], from x [B, C, h, w]."""
        count = len(sigmas) - 1
        growing = max((count + 1) // 2, 1) if self.steps is None else min(self.steps, count + 1)
        height, width = x.shape[-2:]
        factors = [1.0 + (self.ratio - 1.0) / growing * part for part in range(1, growing)] if growing else []
        factors += [self.ratio if growing else 1.0] * (count + 1)
        return [(round(height * factor), round(width * factor)) for factor in factors[:count]]


def growing_lcm(growth: Growth) -> Sampler:
    """Luo et al. 2023 (LCM), algorithm 3, with x0 resized before noise is added to it again."""

    def noise(x: Tensor, sigmas: Tensor, seed: int) -> StepNoise:
        generator, sizes = seeded(seed), iter(growth.sizes(x, sigmas))

        def draw(sigma: float, after: float) -> Tensor:
            shape = (*x.shape[:2], *next(sizes))
            return torch.randn(shape, generator=generator, dtype=x.dtype).to(x.device)

        return draw

    def steps(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
        sizes = growth.sizes(x, sigmas)
        for (sigma, after), (height, width) in zip(pairwise(sigmas.tolist()), sizes, strict=True):
            denoised = denoise(x, sigma)
            same = denoised.shape[-2:] == (height, width)
            x = denoised if same else resized(denoised, width, height, growth.method)
            if after > 0:
                x = x + noise(sigma, after) * after
            yield Step(x, denoised)

    return Sampler(steps, noise=noise, resizes=True)
