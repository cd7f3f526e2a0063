"""Nodes that split, turn round and fill in noise levels."""

import math
from typing import Annotated, NamedTuple

from diffusion.model import Model
from diffusion.sampling.schedule.edit import (
    SPACINGS,
    extended,
    flipped,
    split_at,
    split_by_share,
    with_first,
)
from diffusion.types import Sigmas
from graph import Choice, Range, node

HighLevel = Annotated[float, Range(0, 20_000, step=0.01)]
CATEGORY = "sampling/custom_sampling/sigmas"


class SplitResult(NamedTuple):
    """Two parts of one schedule."""

    high_sigmas: Sigmas
    low_sigmas: Sigmas


@node("SplitSigmas", category=CATEGORY)
def split_sigmas(*, sigmas: Sigmas, step: Annotated[int, Range(0, 10_000)] = 0) -> SplitResult:
    """Divide a run between two samplers at a step.

    Inputs:
        sigmas: The levels.
        step: How many steps the first part has.

    Outputs:
        high_sigmas: The levels of the first `step` steps.
        low_sigmas: The others; its first level is the last of the first part.
    """
    high, low = split_at(sigmas, step)
    return SplitResult(Sigmas(high), Sigmas(low))


@node("SplitSigmasDenoise", category=CATEGORY)
def split_sigmas_denoise(
    *, sigmas: Sigmas, denoise: Annotated[float, Range(0, 1, step=0.01)] = 1.0
) -> SplitResult:
    """Divide a run between two samplers by the share of the steps that the second takes.

    Inputs:
        sigmas: The levels.
        denoise: The share of the steps in the second part, rounded to whole steps.

    Outputs:
        high_sigmas: The levels of the first part; all of them at 0.
        low_sigmas: The levels of the second part; its first level is the last of the first part.
    """
    high, low = split_by_share(sigmas, denoise)
    return SplitResult(Sigmas(high), Sigmas(low))


@node("FlipSigmas", category=CATEGORY)
def flip_sigmas(*, sigmas: Sigmas) -> Sigmas:
    """Noise levels from the last to the first, to lead a picture back to the noise it could have come from.

    Inputs:
        sigmas: The levels.

    Outputs:
        SIGMAS: The same, turned round; 0.0001 stands for a 0 at the start.
    """
    return Sigmas(flipped(sigmas))


@node("SetFirstSigma", category=CATEGORY)
def set_first_sigma(
    *, sigmas: Sigmas, sigma: Annotated[float, Range(0, 20_000, step=0.001)] = 136.0
) -> Sigmas:
    """Noise levels with another first one.

    Inputs:
        sigmas: The levels; at least one.
        sigma: The first level.

    Outputs:
        SIGMAS: The changed levels, [n] float32.
    """
    return Sigmas(with_first(sigmas, sigma))


@node("ExtendIntermediateSigmas", category=CATEGORY)
def extend_intermediate_sigmas(
    *,
    sigmas: Sigmas,
    steps: Annotated[int, Range(1, 100)] = 2,
    start_at_sigma: Annotated[float, Range(-1, 20_000, step=0.01)] = -1.0,
    end_at_sigma: HighLevel = 12.0,
    spacing: Annotated[str, Choice(tuple(SPACINGS))] = "linear",
) -> Sigmas:
    """Take several steps in place of each of some.

    Inputs:
        sigmas: The levels.
        steps: How many steps each becomes.
        start_at_sigma: Only steps that start at this level or below; -1 is no limit.
        end_at_sigma: Only steps that start at this level or above.
        spacing: How the new levels lie between two old ones.

    Outputs:
        SIGMAS: The levels with the new ones among them, float32.
    """
    highest = start_at_sigma if start_at_sigma >= 0 else math.inf
    return Sigmas(extended(sigmas, steps, highest=highest, lowest=end_at_sigma, spacing=spacing))


class SigmaValue(NamedTuple):
    """One level."""

    sigma_value: float


@node("SamplingPercentToSigma", category=CATEGORY)
def sampling_percent_to_sigma(
    *,
    model: Model,
    sampling_percent: Annotated[float, Range(0, 1, step=0.0001)] = 0.0,
    return_actual_sigma: bool = False,
) -> SigmaValue:
    """The noise level that a run has come down to after a share of its timesteps.

    Inputs:
        model: Whose levels.
        sampling_percent: The share, 0..1.
        return_actual_sigma: At 0 and 1 the model's highest and lowest level, in place of one that lies beyond all.

    Outputs:
        sigma_value: The level.
    """
    if return_actual_sigma and sampling_percent in (0, 1):
        ends = (model.schedule.sigma_max, model.schedule.sigma_min)
        return SigmaValue(ends[int(sampling_percent)])
    return SigmaValue(model.schedule.sigma_at(sampling_percent))
