"""Linear multistep with weights in closed form: for equal steps, for unequal ones, and in the time of DEIS."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.multistep import ADAMS_BASHFORTH, weighted
from diffusion.sampling.samplers.steps import Denoise, Step, distinct_levels, slope


def ipndm(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, max_order: int = 4
) -> Iterator[Step]:
    """Zhang and Chen 2023 (DEIS), iPNDM: Adams-Bashforth weights for equal steps, whatever the levels; Euler first.

    max_order: 1..4. One model call a step.
    """
    slopes: deque[Tensor] = deque(maxlen=_checked(max_order))
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        slopes.appendleft(slope(x, denoised, sigma))
        combined = weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        x = x + combined * (after - sigma) if after > 0 else denoised
        yield Step(x, denoised)


def ipndm_v(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, max_order: int = 4
) -> Iterator[Step]:
    """The same with weights for the steps' own sizes, as Zhou et al. 2024 (AMED-Solver, diff-sampler) compute them.

    max_order: 1..4. One model call a step.
    """
    levels = distinct_levels(sigmas)
    slopes: deque[Tensor] = deque(maxlen=_checked(max_order))
    for i, (sigma, after) in enumerate(pairwise(levels)):
        denoised = denoise(x, sigma)
        slopes.appendleft(slope(x, denoised, sigma))
        lengths = [levels[i + 1 - k] - levels[i - k] for k in range(len(slopes))]
        combined = weighted(_unequal_weights(lengths), slopes)
        x = x + combined * (after - sigma) if after > 0 else denoised
        yield Step(x, denoised)


def _unequal_weights(lengths: Sequence[float]) -> list[float]:
    """Weights of the newest slopes, newest first. lengths: of this step and of those that the others began.

    As published. Where steps are unequal, this is not exactly Adams-Bashforth: `bend` holds a factor in the wrong
    bracket, and the oldest weight a ratio of the wrong steps. Existing workflows depend on these numbers.
    """
    order = len(lengths)
    weights = np.zeros(order)
    weights[0] = 1
    h, *past = lengths
    if order >= 2:
        weights[:2] += h / past[0] / 2 * np.array([1, -1])
    if order >= 3:
        h1, h2 = past[:2]
        bend = (1 - h / (3 * (h + h1)) * (h * (h + h1)) / (h1 * (h1 + h2))) / 2
        weights[:3] += bend * np.array([1, -(1 + h1 / h2), h1 / h2])
    if order >= 4:
        h1, h2, h3 = past[:3]
        twist = (1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))
        twist *= (h * (h + h1) * (h + h1 + h2)) / (h1 * (h1 + h2) * (h1 + h2 + h3))
        q = h1 * (h1 + h2) / (h2 * (h2 + h3))
        weights += twist * np.array([1, -(1 + h1 / h2 + q), h1 / h2 + q * (1 + h2 / h3), -q * h1 / h2])
    return [float(weight) for weight in weights]


def deis(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, max_order: int = 3
) -> Iterator[Step]:
    """Zhang and Chen 2023 (DEIS), tAB: the polynomial in time through the last slopes, integrated over the step.

    Time is that of a variance preserving process with linear betas (eq. 4). max_order: 1..4. One model call a step.
    """
    levels = distinct_levels(sigmas)
    times = [_time(level) for level in levels]
    slopes: deque[Tensor] = deque(maxlen=_checked(max_order))
    for i, (sigma, after) in enumerate(pairwise(levels)):
        denoised = denoise(x, sigma)
        slopes.appendleft(slope(x, denoised, sigma))
        if after == 0 or len(slopes) == 1:
            x = x + slopes[0] * (after - sigma)
        else:
            known = times[i + 1 - len(slopes) : i + 1][::-1]
            x = x + weighted(_time_integrals(known, times[i], times[i + 1]), slopes)
        yield Step(x, denoised)


# The process that Karras et al. 2022 (appendix C.1) fit to levels from 0.002 to 80 over times from 0.001 to 1.
_LOWEST, _HIGHEST = (math.log(sigma**2 + 1) for sigma in (0.002, 80.0))
_FIRST_TIME = 1e-3
_BETA_SLOPE = 2 * (_LOWEST / _FIRST_TIME - _HIGHEST) / (_FIRST_TIME - 1)
_BETA_START = _HIGHEST - _BETA_SLOPE / 2
_POINTS = 10_000
"""The published program integrates by so many points; so do the pictures made with it."""


def _time(sigma: float) -> float:
    """The time of a level: the inverse of sigma^2 + 1 = exp(slope t^2 / 2 + start t)."""
    return (math.sqrt(_BETA_START**2 + 2 * _BETA_SLOPE * math.log(sigma**2 + 1)) - _BETA_START) / _BETA_SLOPE


def _time_integrals(points: Sequence[float], start: float, end: float) -> list[float]:
    """The integral over sigma, from time start to end, of each Lagrange basis polynomial in time over `points`."""
    taus = np.linspace(start, end, _POINTS)
    growth = np.exp(_BETA_SLOPE * taus**2 / 2 + _BETA_START * taus)
    speed = (_BETA_SLOPE * taus + _BETA_START) * growth / (2 * np.sqrt(growth - 1))  # d sigma / d time
    integrals = []
    for j, point in enumerate(points):
        basis = speed.copy()
        for k, other in enumerate(points):
            if k != j:
                basis *= (taus - other) / (point - other)
        integrals.append(float(basis.mean() * (end - start)))
    return integrals


def _checked(max_order: int) -> int:
    if not 1 <= max_order <= len(ADAMS_BASHFORTH):
        raise ValueError(f"max_order must be 1, 2, 3 or 4; got {max_order}.")
    return max_order
