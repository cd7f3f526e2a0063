"""UniPC: a multistep method that predicts and corrects, whose correction costs no model call of its own.

Zhao et al. 2023 ("UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models"), algorithms 1
and 2, third order, for the prediction of x0, in variance exploding form, lambda = -log(sigma).
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, distinct_levels, towards

_ORDER = 3
_LAST_LEVEL = 0.001
"""Where a step to zero ends, for lambda is infinite there."""

_Scale = Callable[[float], float]
"""B(h) of the paper, of -h."""


def uni_pc(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """With B(h) = h ("bh1"). One model call a step, and one more in the first of several."""
    return _steps(denoise, x, _levels(sigmas), scale=lambda minus_h: minus_h)


def uni_pc_bh2(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise) -> Iterator[Step]:
    """With B(h) = exp(h) - 1 ("bh2")."""
    return _steps(denoise, x, _levels(sigmas), scale=math.expm1)


def _levels(sigmas: Tensor) -> list[float]:
    """The levels, and in place of zero the last one.

    As rounded as existing workflows have it: from the variance of the noise where that of all is 1, in the precision of
    the schedule. (In single precision it is 0.00098, and that changes the fourth digit of a result.)
    """
    variance = 1 - 1 / (1 + torch.tensor(_LAST_LEVEL, dtype=sigmas.dtype) ** 2)
    last = float((variance / (1 - variance)).sqrt())
    return [level or last for level in distinct_levels(sigmas)]


def _steps(denoise: Denoise, x: Tensor, levels: list[float], *, scale: _Scale) -> Iterator[Step]:
    """The order rises from 1 and falls to 1 again; the last step is not corrected.

    A single step is one of first order (other programs return the noise they were given).
    """
    count = len(levels) - 1
    if count == 0:
        return
    known = [denoise(x, levels[0])]  # newest first
    for i in range(1, count + 1):
        sigma, after = levels[i - 1], levels[i]
        order = max(min(_ORDER, count - 1, i, count + 1 - i), 1)
        minus_h = math.log(after / sigma)
        ratios = [math.log(sigma / levels[i - 1 - k]) / -minus_h for k in range(1, order)]
        changes = [(known[k] - known[0]) / ratio for k, ratio in enumerate(ratios, start=1)]
        base, size = towards(known[0], x, sigma, after), scale(minus_h)
        x = base - _sum(_weights(ratios, minus_h, size), changes) * size
        if i < count:
            newest = denoise(x, after)
            changes = [*changes, newest - known[0]]
            x = base - _sum(_weights([*ratios, 1.0], minus_h, size), changes) * size
            known = [newest, *known[: _ORDER - 1]]
        yield Step(x, known[0])


def _weights(ratios: Sequence[float], minus_h: float, size: float) -> list[float]:
    """The weights that make polynomials up to the order exact (theorem 3.1); a single one is a half, as good there.

    ratios: where the changes of x0 were taken, in steps ahead.
    """
    if len(ratios) == 1:
        return [0.5]
    phi, wanted = math.expm1(minus_h) / minus_h - 1, []
    for k in range(1, len(ratios) + 1):
        wanted.append(phi * math.factorial(k) / size)
        phi = phi / minus_h - 1 / math.factorial(k + 1)
    if not wanted:
        return []
    return [float(weight) for weight in np.linalg.solve(np.vander(ratios, increasing=True).T, wanted)]


def _sum(weights: Sequence[float], changes: Sequence[Tensor]) -> Tensor | float:
    total: Tensor | float = 0.0
    for weight, change in zip(weights, changes, strict=True):
        total = total + change * weight
    return total
