"""What a run makes of conditionings: which of their prompts count at a noise level, where, and how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from torch import Tensor

from diffusion.sampling.areas import Box, box_of, matched, weight_of
from diffusion.sampling.schedule.trained import NoiseSchedule, stable_diffusion_schedule
from diffusion.types import EVERYWHERE, Cond, Conditioning, Scope

_NEXT_STEP = 1e-5
"""Samplers may ask for a step's level a little off, as they compute it by way of its logarithm."""
_NEARLY_NOTHING = 1e-37
"""What weights are added to, so that the mean is 0 where nothing counts."""


@dataclass(frozen=True, eq=False)
class Part:
    """One prompt of a conditioning, for latents of one size.

    box: where it is looked at; None for everywhere. weight: [B or 1, 1, h, w] of the box, or one number for all of it.
    highest, lowest: the noise levels between which it counts, both included.
    """

    entry: Cond
    box: Box | None = None
    weight: Tensor | float = 1.0
    highest: float = math.inf
    lowest: float = 0.0


@dataclass(frozen=True, eq=False)
class Plan:
    """The conditionings of one run.

    sigmas: its levels, [n + 1]. expanded: what conditionings are together with their answers (see areas.matched).
    """

    schedule: NoiseSchedule = field(default_factory=stable_diffusion_schedule)
    sigmas: Sequence[float] = ()
    expanded: Mapping[Conditioning, Conditioning] = field(default_factory=dict)
    _parts: dict[tuple[Conditioning, torch.Size], tuple[Part, ...]] = field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls, schedule: NoiseSchedule, sigmas: Tensor, conditionings: Sequence[Conditioning], x: Tensor
    ) -> Plan:
        """For conditionings that guidance compares, on latents like x [B, 4, h, w].

        Raises ValueError for an area outside of them.
        """
        different = list(dict.fromkeys(conditionings))
        answering = matched(different, (x.shape[-2], x.shape[-1]))
        plan = cls(schedule, sigmas.tolist(), dict(zip(different, answering, strict=True)))
        for conditioning in different:
            plan.parts(conditioning, x)
        return plan

    def whole(self, conditioning: Conditioning) -> Conditioning:
        """The conditioning with what it answers."""
        return self.expanded.get(conditioning, conditioning)

    def parts(self, conditioning: Conditioning, x: Tensor) -> tuple[Part, ...]:
        """All that it consists of, for latents like x [B, 4, h, w]."""
        key = (conditioning, x.shape)
        if key not in self._parts:
            self._parts[key] = tuple(self._part(entry, x) for entry in self.whole(conditioning).entries)
        return self._parts[key]

    def at(self, conditioning: Conditioning, x: Tensor, sigma: float) -> Sequence[Part]:
        """What of it counts at level sigma."""
        parts = [part for part in self.parts(conditioning, x) if part.lowest <= sigma <= part.highest]
        if not any(part.entry.scope.fallback for part in parts):
            return parts
        others = [part for part in parts if not part.entry.scope.fallback]
        room = (1.0 - weights_of(x, others)).clamp(min=0.0)
        if not bool(room.any()):
            return others
        return others + [replace(part, box=None, weight=room) for part in parts if part not in others]

    def _part(self, entry: Cond, x: Tensor) -> Part:
        scope = entry.scope
        if scope is EVERYWHERE:
            return Part(entry)
        box = box_of(scope, (x.shape[-2], x.shape[-1]))
        box = None if box is None else box.clipped((x.shape[-2], x.shape[-1]))
        return Part(entry, box, weight_of(scope, box, x), *_levels(scope, self.schedule, self.sigmas))


def weighted_mean(x: Tensor, parts: Sequence[Part], predictions: Sequence[Tensor]) -> Tensor:
    """What parts predict, [B, 4, h', w'] in their boxes, as one by their weights: like x; 0 where nothing counts."""
    weights = [part.weight for part in parts if part.box is None and isinstance(part.weight, float)]
    if len(weights) < len(parts):
        total, counted = torch.zeros_like(x), weights_of(x, parts) + _NEARLY_NOTHING
        for part, prediction in zip(parts, predictions, strict=True):
            here = total if part.box is None else part.box.of(total)
            here += prediction * part.weight
        return total / counted
    if len(parts) == 1 and weights[0] != 0:
        return predictions[0]
    total = sum(
        (prediction * weight for prediction, weight in zip(predictions, weights, strict=True)),
        start=torch.zeros_like(x),
    )
    return total / (sum(weights) + _NEARLY_NOTHING)


def weights_of(x: Tensor, parts: Sequence[Part]) -> Tensor:
    """The sum of the weights of parts at each place of x [B, C, h, w], as [B, 1, h, w]."""
    total = torch.zeros_like(x[:, :1])
    for part in parts:
        here = total if part.box is None else part.box.of(total)
        here += part.weight
    return total


def _levels(scope: Scope, schedule: NoiseSchedule, sigmas: Sequence[float]) -> tuple[float, float]:
    """The highest and the lowest level at which a prompt counts."""
    start, end = max(scope.start, scope.text_range[0]), min(scope.end, scope.text_range[1])
    highest = math.inf if start <= 0 else schedule.sigma_at(start)
    lowest = schedule.sigma_at(end)
    if scope.steps is None or len(sigmas) < 2:
        return highest, lowest
    first, last = _of_steps(scope.steps, sigmas)
    return min(highest, first), max(lowest, last)


def _of_steps(steps: tuple[Fraction, Fraction], sigmas: Sequence[float]) -> tuple[float, float]:
    """The levels of the steps between two shares of a run, which ends at the last of `sigmas`.

    A step's levels go from the one that it starts at to just before that of the next step.
    """
    count = len(sigmas) - 1
    first, end = (math.ceil(share * count) for share in steps)
    if first >= end:
        return -math.inf, math.inf
    descends = sigmas[0] >= sigmas[-1]
    margin = 1 + _NEXT_STEP if descends else 1 - _NEXT_STEP
    outer, inner = (math.inf, -math.inf) if descends else (-math.inf, math.inf)
    start = outer if first == 0 else sigmas[first] * margin
    stop = inner if end >= count else math.nextafter(sigmas[end] * margin, outer)
    return (start, stop) if descends else (stop, start)
