"""Linear multistep methods: slopes of earlier steps reused for a higher order at one model call a step."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, distinct_levels, slope

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the newest slopes, newest first, by how many there are; for steps of one size."""


def lms(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, order: int = 4) -> Iterator[Step]:
    """Adams-Bashforth with the steps' own, unequal sizes: the polynomial through the last slopes, integrated."""
    if order < 1:
        raise ValueError(f"The order of lms must be 1 at least (4 is usual); got {order}.")
    levels = distinct_levels(sigmas)
    slopes: deque[Tensor] = deque(maxlen=order)
    for i, (sigma, after) in enumerate(pairwise(levels)):
        denoised = denoise(x, sigma)
        slopes.appendleft(slope(x, denoised, sigma))
        if after > 0:
            known = levels[i + 1 - len(slopes) : i + 1][::-1]
            x = x + weighted(_lagrange_integrals(known, sigma, after), slopes)
        else:
            x = denoised
        yield Step(x, denoised)


def plms(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """Liu et al. 2022 (PNDM), the pseudo linear multistep method as the first Stable Diffusion had it.

    Adams-Bashforth weights for equal steps, whatever the levels; the first step by the improved Euler method, at a
    second model call. A schedule of one step is a plain Euler step.
    """
    slopes: deque[Tensor] = deque(maxlen=len(ADAMS_BASHFORTH))
    for sigma, after in pairwise(sigmas.tolist()):
        denoised = denoise(x, sigma)
        slopes.appendleft(slope(x, denoised, sigma))
        if len(slopes) == 1 and after > 0:
            ahead = x + slopes[0] * (after - sigma)
            combined = (slopes[0] + slope(ahead, denoise(ahead, after), after)) / 2
        else:
            combined = weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        x = x + combined * (after - sigma)
        yield Step(x, denoised)


def weighted(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """The sum of slopes, each times its weight."""
    total = slopes[0] * weights[0]
    for weight, earlier in zip(weights[1:], list(slopes)[1:], strict=True):
        total = total + earlier * weight
    return total


def _lagrange_integrals(points: Sequence[float], start: float, end: float) -> list[float]:
    """The integral from start to end of each Lagrange basis polynomial over `points`."""
    # n nodes integrate polynomials up to degree 2n - 1 exactly; these have degree len(points) - 1.
    nodes, weights = np.polynomial.legendre.leggauss(len(points) // 2 + 1)
    tau = (end - start) / 2 * nodes + (start + end) / 2
    integrals = []
    for j, point in enumerate(points):
        basis = np.ones_like(tau)
        for k, other in enumerate(points):
            if k != j:
                basis *= (tau - other) / (point - other)
        integrals.append(float((end - start) / 2 * (weights @ basis)))
    return integrals
