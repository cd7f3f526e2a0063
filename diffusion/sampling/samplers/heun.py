"""Heun's method: each Euler step corrected by the slope at its end, or at two later ends."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Churn, Denoise, Step, slope


def heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Karras et al. 2022, algorithm 2. Two model calls a step, one for a step to zero."""
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
    for sigma, after in pairwise(sigmas.tolist()):
        x, raised = churn(x, sigma, steps=len(sigmas) - 1, noise=noise)
        denoised = denoise(x, raised)
        here = slope(x, denoised, raised)
        if after > 0:
            ahead = x + here * (after - raised)
            here = (here + slope(ahead, denoise(ahead, after), after)) / 2
        x = x + here * (after - raised)
        yield Step(x, denoised)


def heunpp2(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Heun++: the slopes here, one step and two steps ahead, weighed by their noise levels. Up to three calls a step.

    By the published program (Carzit, sd-webui-samplers-scheduler); there is no paper. Levels are weighed against the
    first one; the last step is Euler's, the last but one looks one step ahead.
    """
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
    levels = sigmas.tolist()
    for i, (sigma, after) in enumerate(pairwise(levels)):
        x, raised = churn(x, sigma, steps=len(levels) - 1, noise=noise)
        denoised = denoise(x, raised)
        slopes = [slope(x, denoised, raised)]
        # The last level asks nothing of the model: it may be 0.
        ends = [level for level in levels[i + 1 : i + 3] if level != levels[-1]]
        ahead, reached = x, raised
        for end in ends:
            ahead = ahead + slopes[-1] * (end - reached)
            slopes.append(slope(ahead, denoise(ahead, end), end))
            reached = end
        x = x + _weighed(slopes, ends, highest=levels[0]) * (after - raised)
        yield Step(x, denoised)


def _weighed(slopes: list[Tensor], ends: list[float], *, highest: float) -> Tensor:
    weights = [end / (len(slopes) * highest) for end in ends]
    total = slopes[0] * (1 - sum(weights))
    for weight, later in zip(weights, slopes[1:], strict=True):
        total = total + later * weight
    return total
