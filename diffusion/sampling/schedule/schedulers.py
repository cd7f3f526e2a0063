"""The rules ("schedulers") that pick levels to sample at from those a model was trained on, by name."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from diffusion.sampling.schedule.beta_quantile import nearest_upper_quantiles
from diffusion.sampling.schedule.formulas import (
    check_steps,
    exponential_levels,
    karras_levels,
    then_zero,
)
from diffusion.sampling.schedule.trained import NoiseSchedule

Scheduler = Callable[[NoiseSchedule, int], Tensor]
"""(schedule, steps) -> sigmas: [steps + 1] float32, descending, ending in 0."""


def simple(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Every (N / steps)-th trained level, counted from the noisiest."""
    sigmas = schedule.sigmas
    stride = len(sigmas) / steps
    return then_zero(sigmas[[-1 - int(i * stride) for i in range(steps)]])


def normal(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Evenly spaced timesteps, from the last trained to the first."""
    return then_zero(_at_even_timesteps(schedule, steps))


def sgm_uniform(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Evenly spaced timesteps from the last trained, so that one step more would reach the first."""
    return then_zero(_at_even_timesteps(schedule, steps + 1)[:-1])


def karras(schedule: NoiseSchedule, steps: int) -> Tensor:
    """More steps at low noise (Karras et al. 2022, eq. 5, rho = 7)."""
    return karras_levels(steps, sigma_min=schedule.sigma_min, sigma_max=schedule.sigma_max)


def exponential(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Even in log(sigma)."""
    return exponential_levels(steps, sigma_min=schedule.sigma_min, sigma_max=schedule.sigma_max)


def ddim_uniform(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Every (N // steps)-th timestep from 1 (Song et al. 2021, DDIM).

    These can be more than `steps`, where N / steps is no whole number: all of them are kept.
    """
    sigmas = schedule.sigmas
    stride = max(len(sigmas) // steps, 1)
    return then_zero(sigmas[1::stride].flip(0))


def beta(schedule: NoiseSchedule, steps: int, *, alpha: float = 0.6, beta: float = 0.6) -> Tensor:
    """Timesteps at even quantiles of a beta distribution (Lee et al. 2024, "Beta Sampling is All You Need").

    Where two quantiles fall on one timestep it is taken once, so there can be fewer than `steps`. Raises ValueError
    unless alpha and beta are above 0.
    """
    check_steps(steps)
    if not (0 < alpha < math.inf and 0 < beta < math.inf):
        raise ValueError(f"alpha and beta must be above 0, 0.6 say; got alpha {alpha}, beta {beta}.")
    sigmas = schedule.sigmas
    tails = np.linspace(0, 1, steps, endpoint=False)
    timesteps = torch.from_numpy(nearest_upper_quantiles(tails, alpha, beta, len(sigmas) - 1))
    return then_zero(sigmas[timesteps.unique_consecutive()])


def linear_quadratic(schedule: NoiseSchedule, steps: int, *, threshold: float = 0.025) -> Tensor:
    """Half of the steps fall evenly by `threshold` of the highest level, the others quadratically to 0.

    Polyak et al. 2024 ("Movie Gen"), section 3.4.2.
    """
    if steps == 1:
        return then_zero(torch.tensor([schedule.sigma_max]))
    linear = steps // 2
    rest = steps - linear
    excess = linear - threshold * steps
    curve = excess / (linear * rest**2)
    tilt = threshold / linear - 2 * excess / rest**2
    fallen = [i * threshold / linear for i in range(linear)]
    fallen += [curve * i**2 + tilt * i + curve * linear**2 for i in range(linear, steps)]
    return then_zero(torch.tensor([1.0 - share for share in fallen]) * schedule.sigma_max)


def kl_optimal(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Even in atan(sigma) (Sabour et al. 2024, "Align Your Steps", theorem 3.1)."""
    share = torch.arange(steps) / max(steps - 1, 1)
    low, high = math.atan(schedule.sigma_min), math.atan(schedule.sigma_max)
    return then_zero((share * low + (1 - share) * high).tan())


def _at_even_timesteps(schedule: NoiseSchedule, count: int) -> Tensor:
    first, last = schedule.timestep(schedule.sigma_max), schedule.timestep(schedule.sigma_min)
    return schedule.sigma(torch.linspace(first, last, count))


SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType(
    {
        "simple": simple,
        "sgm_uniform": sgm_uniform,
        "karras": karras,
        "exponential": exponential,
        "ddim_uniform": ddim_uniform,
        "beta": beta,
        "normal": normal,
        "linear_quadratic": linear_quadratic,
        "kl_optimal": kl_optimal,
    }
)
SCHEDULER_NAMES = tuple(SCHEDULERS)
