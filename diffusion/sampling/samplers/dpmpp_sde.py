"""DPM-Solver++ with noise: exponential integrators of the reverse stochastic equation, for the prediction of x0.

Lu et al. 2022 (DPM-Solver++), section 5 and appendix B, and its extension by one order in k-diffusion (Crowson), in
variance exploding form, lambda = -log(sigma). eta scales the noise: 0 is the probability flow, 1 the reverse equation.
Noise comes from one Brownian motion over the levels.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, ancestral_split, distinct_levels, towards


def dpmpp_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 0.5,
) -> Iterator[Step]:
    """Two stages a step, the second at a share r of it in lambda, each an ancestral step. Two model calls.

    r: above 0. A step to zero is the x0 predicted before it.
    """
    if r <= 0:
        raise ValueError(
            f"dpmpp_sde's r, the place of its middle stage, must be above 0 (0.5 is usual); got {r}."
        )
    weight = 1 / (2 * r)
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        middle = _between(sigma, after, r, sigmas.dtype)
        down, up = ancestral_split(sigma, middle, eta)
        halfway = towards(denoised, x, sigma, down)
        if eta > 0 and s_noise > 0:
            halfway = halfway + noise(sigma, middle) * (s_noise * up)
        target = denoised * (1 - weight) + denoise(halfway, middle) * weight
        down, up = ancestral_split(sigma, after, eta)
        x = towards(target, x, sigma, down)
        if eta > 0 and s_noise > 0:
            x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, denoised)


def dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: Literal["midpoint", "heun"] = "midpoint",
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M): second order from the last two predictions. One model call a step.

    solver_type: how the change of x0 over the step is weighed: at its middle, or by its integral.
    """
    previous: tuple[Tensor, float] | None = None
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        h = math.log(sigma / after)
        x = _first_order(x, denoised, sigma, after, eta)
        if previous is not None:
            earlier, earlier_h = previous
            change = (denoised - earlier) * (h / earlier_h)
            x = x + change * (_phi_2(h * (1 + eta)) if solver_type == "heun" else _phi_1(h * (1 + eta)) / 2)
        x = _with_noise(x, sigma, after, eta, s_noise, noise)
        previous = denoised, h
        yield Step(x, denoised)


def dpmpp_2m_sde_heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: Literal["midpoint", "heun"] = "heun",
) -> Iterator[Step]:
    """The same, by default with the change weighed by its integral."""
    return dpmpp_2m_sde(denoise, x, sigmas, noise, eta=eta, s_noise=s_noise, solver_type=solver_type)


def dpmpp_3m_sde(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Third order from the last three predictions, second from two. One model call a step."""
    earlier: list[tuple[Tensor, float]] = []
    for sigma, after in pairwise(distinct_levels(sigmas)):
        denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        h = math.log(sigma / after)
        x = _first_order(x, denoised, sigma, after, eta) + _corrections(denoised, earlier, h, h * (1 + eta))
        x = _with_noise(x, sigma, after, eta, s_noise, noise)
        earlier = [(denoised, h), *earlier[:1]]
        yield Step(x, denoised)


def _corrections(
    denoised: Tensor, earlier: list[tuple[Tensor, float]], h: float, h_eta: float
) -> Tensor | float:
    """What earlier predictions, newest first, each with the step taken from it, add to a first order step."""
    if not earlier:
        return 0.0
    phi_2 = _phi_2(h_eta)
    r0 = earlier[0][1] / h
    first = (denoised - earlier[0][0]) / r0
    if len(earlier) == 1:
        return first * phi_2
    r1 = earlier[1][1] / h
    second = (earlier[0][0] - earlier[1][0]) / r1
    bend = (first - second) / (r0 + r1)
    return (first + bend * r0) * phi_2 - bend * (phi_2 / h_eta - 0.5)


def _first_order(x: Tensor, denoised: Tensor, sigma: float, after: float, eta: float) -> Tensor:
    h = math.log(sigma / after)
    return x * (after / sigma * math.exp(-h * eta)) + denoised * _phi_1(h * (1 + eta))


def _with_noise(
    x: Tensor, sigma: float, after: float, eta: float, s_noise: float, noise: StepNoise
) -> Tensor:
    if eta <= 0 or s_noise <= 0:
        return x
    # Upward, where there is nothing to make up for, none is added.
    variance = max(-math.expm1(-2 * eta * math.log(sigma / after)), 0.0)
    return x + noise(sigma, after) * (after * math.sqrt(variance) * s_noise)


def _phi_1(h: float) -> float:
    """The integral of exp(s - h) ds from 0 to h."""
    return -math.expm1(-h)


def _phi_2(h: float) -> float:
    """The integral of exp(s - h) s / h ds from 0 to h."""
    return math.expm1(-h) / h + 1


def _between(sigma: float, after: float, share: float, dtype: torch.dtype) -> float:
    """The level at a share of the way in lambda, computed in the precision of the schedule.

    Brownian motion is rough: the last digit of its time changes the noise that is drawn there.
    """
    start, end = -torch.tensor([sigma, after], dtype=dtype).log()
    return float((-(start + share * (end - start))).exp())
