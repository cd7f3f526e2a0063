"""Which part of a schedule a run goes through, and how much noise it starts from."""

import math

import torch
from torch import Tensor

from diffusion.sampling.lookup import find
from diffusion.sampling.schedule.formulas import check_steps
from diffusion.sampling.schedule.schedulers import SCHEDULERS
from diffusion.sampling.schedule.trained import NoiseSchedule

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
    check_steps(steps)
    check_denoise(denoise)
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


def check_denoise(denoise: float) -> None:
    """Raises ValueError outside 0..1."""
    if not 0 <= denoise <= 1:
        raise ValueError(
            f"denoise must lie between 0 (keep the latent) and 1 (start from noise); got {denoise}."
        )


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
