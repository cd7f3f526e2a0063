"""Dynamic thresholding: a high guidance scale with the range of values of a lower one (A. Goodwin, 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from diffusion.sampling.lookup import find
from diffusion.sampling.schedule.trained import NoiseSchedule
from diffusion.sampling.transforms.stages import Predicted

_QUARTER, _TURN = 1.5707, 6.28318
_LAST_TIMESTEP, _LONGEST = 999, 998

CURVES: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {
        "Constant": lambda share, power: 1.0,
        "Linear Down": lambda share, power: 1.0 - share,
        "Cosine Down": lambda share, power: math.cos(share * _QUARTER),
        "Half Cosine Down": lambda share, power: math.cos(share),
        "Linear Up": lambda share, power: share,
        "Cosine Up": lambda share, power: 1.0 - math.cos(share * _QUARTER),
        "Half Cosine Up": lambda share, power: 1.0 - math.cos(share),
        "Power Up": lambda share, power: share**power,
        "Power Down": lambda share, power: 1.0 - share**power,
        "Linear Repeating": lambda share, power: 2 * abs(0.5 - share * power % 1.0),
        "Cosine Repeating": lambda share, power: math.cos(share * _TURN * power) / 2 + 0.5,
        "Sawtooth": lambda share, power: share * power % 1.0,
    }
)
"""(share of the run done, power) -> how much of a scale, above its lowest, holds then."""


@dataclass(frozen=True)
class ScaleCurve:
    """A scale over the run. curve: of CURVES. lowest: what the curve's 0 stands for. power: of curves that have one."""

    curve: str = "Constant"
    lowest: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        find(CURVES, self.curve, kind="curve")

    def at(self, share: float, scale: float) -> float:
        return (scale - self.lowest) * CURVES[self.curve](share, self.power) + self.lowest


@dataclass(frozen=True, eq=False)
class DynamicThreshold:
    """x0 at the guidance scale, brought into the range that x0 at `mimic_scale` has.

    percentile: 0..1, of the values that define the range at the guidance scale; those beyond are clamped.
    by_channel: each channel of each sample has a range of its own, or the whole batch one. from_mean: ranges are
    around the channel's mean, or around 0. by_deviation: a range is a standard deviation, or the greatest distance.
    mix: 0..1, how much of the result takes the place of plain guidance.
    """

    schedule: NoiseSchedule
    mimic_scale: float
    percentile: float = 1.0
    mimic_curve: ScaleCurve = ScaleCurve()
    scale_curve: ScaleCurve = ScaleCurve()
    by_channel: bool = False
    from_mean: bool = True
    by_deviation: bool = False
    mix: float = 1.0

    def __call__(self, seen: Predicted) -> Tensor:
        if seen.uncond is None:
            return seen.cond
        difference = seen.cond - seen.uncond
        if seen.scale == self.mimic_scale:
            return seen.uncond + difference * seen.scale
        share = (_LAST_TIMESTEP - self.schedule.timestep(seen.sigma)) / _LONGEST
        mimicked = seen.uncond + difference * self.mimic_curve.at(share, self.mimic_scale)
        guided = seen.uncond + difference * self.scale_curve.at(share, seen.scale)
        return torch.lerp(guided, self._in_range_of(mimicked, guided), self.mix)

    def _in_range_of(self, mimicked: Tensor, guided: Tensor) -> Tensor:
        mean = _mean(guided)
        centred = guided - mean
        wanted = self._range(mimicked - _mean(mimicked), 1.0)
        present = self._range(centred, self.percentile)
        if not self.from_mean:
            return guided * (wanted / present)
        if self.by_deviation:
            return centred / present * wanted + mean
        most = torch.maximum(wanted, present)
        return centred.clamp(-most, most) / most * wanted + mean

    def _range(self, centred: Tensor, percentile: float) -> Tensor:
        """[B, C, 1, 1], or one number."""
        values = centred.flatten(2) if self.by_channel else centred.flatten()
        if self.by_deviation:
            extent = values.std(dim=-1)
        elif percentile >= 1.0:
            extent = values.abs().amax(dim=-1)
        else:
            extent = torch.quantile(values.abs(), percentile, dim=-1)
        return extent[..., None, None] if self.by_channel else extent


def _mean(tensor: Tensor) -> Tensor:
    return tensor.mean(dim=(-2, -1), keepdim=True)
