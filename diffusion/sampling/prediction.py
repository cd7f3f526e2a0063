"""What a UNet was trained to predict, and x0 from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from torch import Tensor

from diffusion.sampling.lookup import find
from diffusion.sampling.schedule.trained import (
    ANGLE,
    LOGARITHM,
    ContinuousSchedule,
    NoiseSchedule,
    stable_diffusion_schedule,
)


class Prediction(Protocol):
    """How a UNet sees x and what its output means. An immutable value."""

    def deviation(self, sigma: float) -> float:
        """What x is divided by for the UNet to see it: its own standard deviation at this level."""
        ...

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        """x0 from the UNet's output. All [B, 4, h, w]."""
        ...


@dataclass(frozen=True)
class _OfUnitData:
    """data: the standard deviation of x0 that the UNet was trained for."""

    data: float = 1.0

    def deviation(self, sigma: float) -> float:
        return math.sqrt(sigma**2 + self.data**2)


class NoisePrediction(_OfUnitData):
    """The noise (Ho et al. 2020, eq. 14; Karras et al. 2022, table 1): what Stable Diffusion 1.x predicts."""

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        return x - output * sigma


NOISE = NoisePrediction()


class VelocityPrediction(_OfUnitData):
    """v, the noise less the data at the angle of the level (Salimans and Ho 2022, eq. 10 and appendix D)."""

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        total = self.deviation(sigma)
        return x * (self.data / total) ** 2 - output * (sigma * self.data / total)


class PreconditionedPrediction(_OfUnitData):
    """F of Karras et al. 2022 (eq. 7 and table 1, "EDM"): v with the other sign."""

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        total = self.deviation(sigma)
        return x * (self.data / total) ** 2 + output * (sigma * self.data / total)


class CleanPrediction(_OfUnitData):
    """x0 itself."""

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        return output


class TranslationPrediction(CleanPrediction):
    """x0 itself, from x as it is: models that turn one picture into another."""

    def deviation(self, sigma: float) -> float:
        return 1.0


@dataclass(frozen=True, eq=False)
class ConsistencyPrediction:
    """The noise, joined to x so that the lowest timestep gives x back (Luo et al. 2023, "LCM", section 4.2)."""

    schedule: NoiseSchedule

    def deviation(self, sigma: float) -> float:
        return math.sqrt(sigma**2 + 1)

    def denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        time, data = 10.0 * self.schedule.timestep(sigma), 0.5
        total = math.sqrt(time**2 + data**2)
        return (x - output * sigma) * (time / total) + x * (data / total) ** 2


@dataclass(frozen=True, eq=False)
class Training:
    """Both together: at which levels a UNet was trained, to predict what."""

    schedule: NoiseSchedule
    prediction: Prediction


DISCRETE: Mapping[str, Callable[[NoiseSchedule], Prediction]] = MappingProxyType(
    {
        "eps": lambda schedule: NOISE,
        "v_prediction": lambda schedule: VelocityPrediction(),
        "lcm": ConsistencyPrediction,
        "x0": lambda schedule: CleanPrediction(),
        "img_to_img": lambda schedule: TranslationPrediction(),
    }
)
"""By the field's names."""

CONTINUOUS: Mapping[str, Prediction] = MappingProxyType(
    {
        "v_prediction": VelocityPrediction(),
        "edm": PreconditionedPrediction(data=0.5),
        "eps": NOISE,
    }
)

_DISTILLED_STRIDE = 20


def discrete_training(sampling: str, *, zero_terminal_snr: bool = False) -> Training:
    """Stable Diffusion's 1000 timesteps and one of DISCRETE. Raises ValueError for another name.

    lcm knows every 20th timestep only, as its distillation did.
    zero_terminal_snr: with the last timestep all noise (see DiscreteSchedule.from_betas).
    """
    predicted = find(DISCRETE, sampling, kind="way of sampling")
    schedule = stable_diffusion_schedule(zero_terminal_snr=zero_terminal_snr)
    if sampling == "lcm":
        schedule = schedule.every(_DISTILLED_STRIDE)
    return Training(schedule, predicted(schedule))


def continuous_training(sampling: str, *, sigma_min: float, sigma_max: float) -> Training:
    """Any level between two, told to the UNet as log(sigma) / 4, and one of CONTINUOUS."""
    prediction = find(CONTINUOUS, sampling, kind="way of sampling")
    return Training(ContinuousSchedule(sigma_min, sigma_max, LOGARITHM), prediction)


def angular_training(*, sigma_min: float, sigma_max: float) -> Training:
    """Any level between two, told to the UNet as an angle, and v."""
    return Training(ContinuousSchedule(sigma_min, sigma_max, ANGLE), VelocityPrediction())
