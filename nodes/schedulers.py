"""Nodes that choose the noise levels to sample at."""

import math
from typing import Annotated

import torch

from diffusion.model import Model
from diffusion.sampling.schedule import sampling_sigmas
from diffusion.sampling.schedule.formulas import (
    exponential_levels,
    karras_levels,
    laplace_levels,
    polyexponential_levels,
    variance_preserving_levels,
)
from diffusion.sampling.schedule.published import ALIGN_YOUR_STEPS, align_your_steps, gits, turbo
from diffusion.sampling.schedule.schedulers import beta as beta_levels
from diffusion.types import Sigmas
from graph import Choice, Range, node
from nodes.sampling import SchedulerName, Steps

Level = Annotated[float, Range(0, 5000, step=0.01)]
Share = Annotated[float, Range(0, 1, step=0.01)]
CATEGORY = "sampling/custom_sampling/schedulers"


@node("BasicScheduler", category=CATEGORY)
def basic_scheduler(
    *, model: Model, scheduler: SchedulerName = "simple", steps: Steps = 20, denoise: Share = 1.0
) -> Sigmas:
    """The noise levels that KSampler would use.

    Inputs:
        model: Whose levels.
        scheduler: How the levels are spread over the steps.
        steps: How many steps.
        denoise: Below 1, the last `steps` steps of steps / denoise; 0 gives none.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32, descending to 0.
    """
    return Sigmas(sampling_sigmas(model.schedule, scheduler, steps=steps, denoise=denoise))


@node("KarrasScheduler", category=CATEGORY)
def karras_scheduler(
    *,
    steps: Steps = 20,
    sigma_max: Level = 14.614642,
    sigma_min: Level = 0.0291675,
    rho: Annotated[float, Range(0, 100, step=0.01)] = 7.0,
) -> Sigmas:
    """Noise levels even in sigma^(1/rho) (Karras et al. 2022, eq. 5).

    Inputs:
        steps: How many steps.
        sigma_max: The first level.
        sigma_min: The last level before 0.
        rho: Higher takes more steps at low noise.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32, descending to 0.
    """
    return Sigmas(karras_levels(steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho))


@node("ExponentialScheduler", category=CATEGORY)
def exponential_scheduler(
    *, steps: Steps = 20, sigma_max: Level = 14.614642, sigma_min: Level = 0.0291675
) -> Sigmas:
    """Noise levels with the same ratio from each to the next.

    Inputs:
        steps: How many steps.
        sigma_max: The first level.
        sigma_min: The last level before 0.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32, descending to 0.
    """
    return Sigmas(exponential_levels(steps, sigma_min=sigma_min, sigma_max=sigma_max))


@node("PolyexponentialScheduler", category=CATEGORY)
def polyexponential_scheduler(
    *,
    steps: Steps = 20,
    sigma_max: Level = 14.614642,
    sigma_min: Level = 0.0291675,
    rho: Annotated[float, Range(0, 100, step=0.01)] = 1.0,
) -> Sigmas:
    """Noise levels whose logarithm follows a power of an even ramp.

    Inputs:
        steps: How many steps.
        sigma_max: The first level.
        sigma_min: The last level before 0.
        rho: The power; 1 is exponential, higher takes more steps at low noise.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32, descending to 0.
    """
    return Sigmas(polyexponential_levels(steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho))


@node("LaplaceScheduler", category=CATEGORY)
def laplace_scheduler(
    *,
    steps: Steps = 20,
    sigma_max: Level = 14.614642,
    sigma_min: Level = 0.0291675,
    mu: Annotated[float, Range(-10, 10, step=0.1)] = 0.0,
    beta: Annotated[float, Range(0, 10, step=0.1)] = 0.5,
) -> Sigmas:
    """Noise levels with most steps near a middle one (Hang et al. 2024).

    Inputs:
        steps: How many levels; one step fewer is taken, as 0 is not among them.
        sigma_max: The highest level.
        sigma_min: The lowest level.
        mu: The logarithm of the middle level.
        beta: How far the levels spread around it.

    Outputs:
        SIGMAS: The levels, [steps] float32, descending to sigma_min.
    """
    return Sigmas(laplace_levels(steps, sigma_min=sigma_min, sigma_max=sigma_max, mu=mu, beta=beta))


@node("VPScheduler", category=CATEGORY)
def vp_scheduler(
    *,
    steps: Steps = 20,
    beta_d: Level = 19.9,
    beta_min: Level = 0.1,
    eps_s: Annotated[float, Range(0, 1, step=0.0001)] = 0.001,
) -> Sigmas:
    """Noise levels of the continuous variance preserving diffusion (Song et al. 2021), even in its time.

    Inputs:
        steps: How many steps.
        beta_d: How much the rate of noise rises over time.
        beta_min: The rate at time 0.
        eps_s: The time of the last level before 0.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32, descending to 0.
    """
    return Sigmas(variance_preserving_levels(steps, beta_d=beta_d, beta_min=beta_min, eps_s=eps_s))


@node("BetaSamplingScheduler", category=CATEGORY)
def beta_sampling_scheduler(
    *,
    model: Model,
    steps: Steps = 20,
    alpha: Annotated[float, Range(0, 50, step=0.01)] = 0.6,
    beta: Annotated[float, Range(0, 50, step=0.01)] = 0.6,
) -> Sigmas:
    """Noise levels at even quantiles of a beta distribution of timesteps (Lee et al. 2024).

    Inputs:
        model: Whose levels.
        steps: How many steps; fewer where two fall on one timestep.
        alpha: Above 0; lower takes more steps at low noise.
        beta: Above 0; lower takes more steps at high noise.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32 at most, descending to 0.
    """
    return Sigmas(beta_levels(model.schedule, steps, alpha=alpha, beta=beta))


@node("SDTurboScheduler", category=CATEGORY)
def sd_turbo_scheduler(
    *, model: Model, steps: Annotated[int, Range(1, 10)] = 1, denoise: Share = 1.0
) -> Sigmas:
    """Noise levels for models distilled to one to ten steps as SD Turbo is.

    Inputs:
        model: Whose levels.
        steps: How many of the ten steps to take.
        denoise: Below 1, this share of the ten steps, at the end.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32 at most, descending to 0.
    """
    return Sigmas(turbo(model.schedule, steps, denoise))


@node("AlignYourStepsScheduler", category=CATEGORY)
def align_your_steps_scheduler(
    *,
    model_type: Annotated[str, Choice(tuple(ALIGN_YOUR_STEPS))] = "SD1",
    steps: Steps = 10,
    denoise: Share = 1.0,
) -> Sigmas:
    """Noise levels found by optimisation for few steps (Sabour et al. 2024, "Align Your Steps").

    Inputs:
        model_type: The kind of model they were found for.
        steps: How many steps; other than ten are interpolated.
        denoise: The share of the steps to take, at the end; 0 gives none.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32 at most, descending to 0.
    """
    return Sigmas(align_your_steps(model_type, steps, denoise))


@node("GITSScheduler", category=CATEGORY)
def gits_scheduler(
    *,
    coeff: Annotated[float, Range(0.8, 1.5, step=0.05)] = 1.2,
    steps: Annotated[int, Range(2, 1000)] = 10,
    denoise: Share = 1.0,
) -> Sigmas:
    """Noise levels that follow the shape of the path from noise to picture (Chen et al. 2024, GITS).

    Inputs:
        coeff: 0.8 to 1.5 in steps of 0.05; higher takes more of the steps at low noise.
        steps: How many steps; more than twenty are interpolated.
        denoise: The share of the steps to take, at the end; 0 gives none.

    Outputs:
        SIGMAS: The levels, [steps + 1] float32 at most, descending to 0.
    """
    return Sigmas(gits(coeff, steps, denoise))


@node("ManualSigmas", category="sampling/custom_sampling/sigmas")
def manual_sigmas(*, sigmas: str = "1, 0.5") -> Sigmas:
    """Noise levels as they are written.

    Inputs:
        sigmas: Numbers with commas or spaces between them, from high to low; 0 at the end removes all noise.

    Outputs:
        SIGMAS: The levels, [numbers] float32.
    """
    try:
        levels = torch.tensor([float(part) for part in sigmas.replace(",", " ").split()])
    except ValueError:
        levels = torch.tensor([math.nan])
    if not torch.isfinite(levels).all():
        raise ValueError(
            f"Noise levels are numbers with commas between them, such as 14.6, 5.2, 1.3, 0; got {sigmas[:200]!r}."
        )
    return Sigmas(levels)
