"""ER-SDE: exponential integrators of a reverse stochastic equation whose noise follows a function of the level."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, distinct_levels

SolverType = Literal["ER-SDE", "Reverse-time SDE", "ODE"]
_NoiseScale = Callable[[float], float]
_POINTS = 200
"""The published program integrates by so many points; so do the pictures made with it."""


def er_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    solver_type: SolverType = "ER-SDE",
    max_stage: int = 3,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Cui et al. 2023 ("Elucidating the Solution Space of Extended Reverse-Time SDE"), VE ER-SDE-Solver-3.

    One model call a step. solver_type: the noise: the paper's own function of the level, that of the plain reverse
    equation scaled by eta, or none. max_stage: 1..3, the order. A step to zero is the x0 predicted before it.
    """
    if max_stage not in (1, 2, 3):
        raise ValueError(f"max_stage must be 1, 2 or 3; got {max_stage}.")
    scale = _noise_scale(solver_type, eta)
    if solver_type == "ODE" or (solver_type == "Reverse-time SDE" and eta == 0):
        s_noise = 0.0
    levels = distinct_levels(sigmas)
    differences: list[Tensor] = []
    last: Tensor | None = None
    for i, (sigma, after) in enumerate(pairwise(levels)):
        denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        differences = _differences(denoised, last, differences, levels[max(i - 2, 0) : i + 1])[
            : max_stage - 1
        ]
        shrink = scale(after) / scale(sigma)
        x = x * shrink + denoised * (1 - shrink)
        for difference, weight in zip(differences, _stage_weights(scale, sigma, after), strict=False):
            x = x + difference * weight
        if s_noise > 0:
            x = x + noise(sigma, after) * (s_noise * math.sqrt(max(after**2 - (sigma * shrink) ** 2, 0.0)))
        last = denoised
        yield Step(x, denoised)


def _noise_scale(solver_type: SolverType, eta: float) -> _NoiseScale:
    if solver_type == "ER-SDE":
        return lambda sigma: sigma * (math.exp(sigma**0.3) + 10)
    exponent = 1.0 if solver_type == "ODE" else eta + 1
    return lambda sigma: sigma**exponent


def _differences(
    denoised: Tensor, last: Tensor | None, earlier: list[Tensor], levels: list[float]
) -> list[Tensor]:
    """The first and second divided differences of x0 by sigma, as far as they are known. levels: up to the present."""
    if last is None:
        return []
    first = (denoised - last) / (levels[-1] - levels[-2])
    if not earlier:
        return [first]
    return [first, (first - earlier[0]) / ((levels[-1] - levels[-3]) / 2)]


def _stage_weights(scale: _NoiseScale, sigma: float, after: float) -> tuple[float, float]:
    """Of the first and second differences: Taylor terms, and the integrals of the noise scale that go with them."""
    step = (sigma - after) / _POINTS
    points = after + np.arange(_POINTS) * step
    scales = np.array([scale(point) for point in points])
    length = after - sigma
    flat = float((1 / scales).sum() * step)
    sloping = float(((points - sigma) / scales).sum() * step)
    return length + flat * scale(after), length**2 / 2 + sloping * scale(after)
