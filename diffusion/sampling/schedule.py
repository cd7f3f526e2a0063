"""Noise levels: the schedule a model was trained on, and the rules ("schedulers") that pick levels to sample at.

A level sigma is the standard deviation of the noise on data of unit scale (Karras et al. 2022, "EDM", variance
exploding form): x = x0 + sigma * noise. In the terms of Ho et al. 2020, sigma^2 = (1 - alpha_bar) / alpha_bar.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from diffusion.sampling.lookup import find


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a model was trained at, by timestep.

    sigmas, log_sigmas: [N] float32 on the CPU, ascending; entry t belongs to timestep t.
    """

    sigmas: Tensor
    log_sigmas: Tensor

    @classmethod
    def from_betas(cls, betas: Tensor) -> NoiseSchedule:
        """From the variances added at each timestep, [N] float64 (Ho et al. 2020, eq. 4)."""
        alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)
        sigmas = ((1.0 - alphas_cumprod) / alphas_cumprod).sqrt()
        return cls(sigmas.float(), sigmas.log().float())

    @property
    def sigma_min(self) -> float:
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        return float(self.sigmas[-1])

    def timestep(self, sigma: float) -> int:
        """The training timestep whose level is nearest to `sigma` by logarithm."""
        # In float32 like the table: between two timesteps (scheduler "normal" asks there) the rounding decides.
        distance = torch.tensor(sigma, dtype=torch.float32).log() - self.log_sigmas
        return int(distance.abs().argmin())

    def sigma(self, timestep: Tensor) -> Tensor:
        """The levels at `timestep` (any shape, fractions allowed), linear in the logarithm between the trained ones."""
        position = timestep.float().clamp(0, len(self.sigmas) - 1)
        weight = position.frac()
        below, above = self.log_sigmas[position.floor().long()], self.log_sigmas[position.ceil().long()]
        return ((1 - weight) * below + weight * above).exp()


@functools.cache
def stable_diffusion_schedule() -> NoiseSchedule:
    """Stable Diffusion's: the roots of 1000 betas evenly spaced from 0.00085 to 0.012 ("scaled linear")."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return NoiseSchedule.from_betas(betas)


Scheduler = Callable[[NoiseSchedule, int], Tensor]
"""(schedule, steps) -> sigmas: [steps + 1] float32, descending, ending in 0."""


def normal(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Evenly spaced timesteps, from the last trained to the first."""
    return _then_zero(schedule.sigma(torch.linspace(len(schedule.sigmas) - 1, 0, steps)))


def karras(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> Tensor:
    """Even in sigma^(1/rho): more steps at low noise (Karras et al. 2022, eq. 5)."""
    highest, lowest = schedule.sigma_max ** (1 / rho), schedule.sigma_min ** (1 / rho)
    return _then_zero((highest + torch.linspace(0, 1, steps) * (lowest - highest)) ** rho)


def simple(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Every (N / steps)-th trained level, counted from the noisiest."""
    stride = len(schedule.sigmas) / steps
    return _then_zero(schedule.sigmas[[-1 - int(i * stride) for i in range(steps)]])


def ddim_uniform(schedule: NoiseSchedule, steps: int) -> Tensor:
    """Every (N // steps)-th timestep from 1 (Song et al. 2021, DDIM).

    These can be more than `steps`, where N / steps is no whole number: all of them are kept.
    """
    stride = max(len(schedule.sigmas) // steps, 1)
    return _then_zero(schedule.sigmas[1::stride].flip(0))


def _then_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType(
    {"simple": simple, "karras": karras, "ddim_uniform": ddim_uniform, "normal": normal}
)
SCHEDULER_NAMES = tuple(SCHEDULERS)

MOST_PLANNED = 1_000_000
"""The longest schedule that is made to run the end of: 10,000 steps at a denoise of 0.01."""


def sampling_sigmas(
    schedule: NoiseSchedule,
    scheduler: str,
    *,
    steps: int,
    denoise: float = 1.0,
    discard_penultimate: bool = False,
) -> Tensor:
    """The levels to sample at: float32, descending to 0; empty when `denoise` is 0.

    denoise: 0..1, the share of the schedule to run: `steps` steps at the end of one of steps / denoise steps.
    discard_penultimate: leave out the last level above zero (and plan one step more to make up for it), for samplers
    that evaluate the model between two levels. Raises ValueError for an unknown scheduler, steps < 1, denoise
    outside 0..1, or so small that the schedule would be longer than MOST_PLANNED.
    """
    levels = find(SCHEDULERS, scheduler, kind="scheduler")
    if steps < 1:
        raise ValueError(f"Sampling needs at least one step; got steps = {steps}.")
    if not 0 <= denoise <= 1:
        raise ValueError(
            f"denoise must lie between 0 (keep the latent) and 1 (start from noise); got {denoise}."
        )
    if denoise == 0:
        return torch.zeros(0)
    if steps > denoise * MOST_PLANNED:
        raise ValueError(
            f"denoise {denoise} is too small for {steps} steps: give {steps / MOST_PLANNED:g} at least, or 0 "
            "to keep the latent as it is."
        )
    # Above 0.9999 a share is a whole, by the convention that existing workflows count on.
    planned = steps if denoise > 0.9999 else int(steps / denoise)
    sigmas = levels(schedule, planned + 1 if discard_penultimate else planned)
    if discard_penultimate:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    return sigmas if denoise > 0.9999 else sigmas[-(steps + 1) :]


def step_range(
    sigmas: Tensor, *, start: int | None = None, last: int | None = None, finish: bool = False
) -> Tensor:
    """The levels for steps `start` up to `last` (exclusive; None: all), counted from 0; empty when none are left.

    finish: make the cut-off end 0, so that the last step removes all noise that is left.
    """
    if (start is not None and start < 0) or (last is not None and last < 0):
        raise ValueError(f"Steps are counted from 0; got start {start}, end {last}.")
    if last is not None and last < len(sigmas) - 1:
        sigmas = sigmas[: last + 1].clone()
        if finish:
            sigmas[-1] = 0
    if start is None:
        return sigmas
    return sigmas[start:] if start < len(sigmas) - 1 else sigmas[:0]


def starting_level(schedule: NoiseSchedule, sigma: float) -> float:
    """How much unit noise to add to a clean latent to sample from level `sigma` on.

    sigma itself; but sqrt(1 + sigma^2) from the schedule's highest level, where the UNet, which sees
    x / sqrt(1 + sigma^2), was trained on noise of variance 1.
    """
    if sigma > schedule.sigma_max or math.isclose(sigma, schedule.sigma_max, rel_tol=1e-5):
        return math.sqrt(1 + sigma**2)
    return sigma
