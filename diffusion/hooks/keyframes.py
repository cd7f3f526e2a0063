"""Strengths that change along a run: keyframes, each with the share of the schedule that it begins at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diffusion.sampling.schedule.trained import NoiseSchedule

INTERPOLATIONS = ("linear", "ease_in", "ease_out", "ease_in_out")


@dataclass(frozen=True)
class Keyframe:
    """A strength, and from which share of the schedule on it holds, 0 the noisiest level and 1 the end.

    guaranteed: at how many levels it holds at least once its turn has come; not for one whose turn lies before the run.
    Raises ValueError for a strength that is not finite, a start outside of 0..1 and a negative guarantee.
    """

    strength: float
    start: float = 0.0
    guaranteed: int = 1

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength):
            raise ValueError(f"A keyframe's strength is a finite number, such as 0.5; got {self.strength}.")
        if not 0 <= self.start <= 1:
            raise ValueError(f"A keyframe begins at a share of the schedule, 0 to 1; got {self.start}.")
        if self.guaranteed < 0:
            raise ValueError(f"A keyframe is guaranteed no fewer than 0 steps; got {self.guaranteed}.")


@dataclass(frozen=True, eq=False)
class Keyframes:
    """Keyframes in the order of their starts. Hooks that share one value keep in step with one another."""

    frames: tuple[Keyframe, ...] = ()

    def extended(self, *more: Keyframe) -> Keyframes:
        """These and more; of those that begin together the one that was added last counts."""
        return Keyframes(tuple(sorted((*self.frames, *more), key=lambda frame: frame.start)))

    def begin(self, schedule: NoiseSchedule, highest: float) -> Progress:
        """Start a run whose highest noise level is this."""
        return Progress(self.frames, schedule, highest)

    def stretches(self) -> list[tuple[float, float, Keyframe]]:
        """The shares of the schedule, from and to, where one strength holds; from the first keyframe on."""
        if not self.frames:
            return []
        found, current = [], self.frames[0]
        for frame in self.frames:
            if frame.start == current.start:
                current = frame
            elif not math.isclose(frame.strength, current.strength):
                found.append((current.start, frame.start, current))
                current = frame
        if not math.isclose(current.start, 1.0):
            found.append((current.start, 1.0, current))
        return found


class Progress:
    """Where one run stands among keyframes. It only moves on; the first one holds before its own start too."""

    def __init__(self, frames: Sequence[Keyframe], schedule: NoiseSchedule, highest: float) -> None:
        self._frames = frames
        self._levels = [schedule.sigma_at(frame.start) for frame in frames]
        self._guaranteed = [
            0 if level > highest else frame.guaranteed
            for frame, level in zip(frames, self._levels, strict=True)
        ]
        self._place = 0
        self._levels_seen = 0
        self._last: float | None = None

    def strength_at(self, sigma: float) -> float:
        """The strength at the noise level that the run has come to; 1 without keyframes."""
        if not self._frames:
            return 1.0
        if sigma != self._last:
            self._move_on(sigma)
        return self._frames[self._place].strength

    def _move_on(self, sigma: float) -> None:
        if self._levels_seen >= self._guaranteed[self._place]:
            for place in range(self._place + 1, len(self._frames)):
                if self._levels[place] < sigma:
                    break
                self._place, self._levels_seen = place, 0
                if self._guaranteed[place] > 0:
                    break
        self._levels_seen += 1
        self._last = sigma


def spread(strengths: Sequence[float], start: float, end: float) -> list[Keyframe]:
    """A keyframe for each strength, at even distances from one share of the schedule to another.

    Raises ValueError for no strengths at all, and for an end before the start.
    """
    if not strengths:
        raise ValueError("There are no strengths to make keyframes of: give one number at least.")
    if start > end:
        raise ValueError(f"Keyframes go from a start to a later end; got {start} to {end}. Swap the two.")
    # In float32, as the levels are: whether a step lies at a keyframe or just before it depends on the last digit.
    starts = torch.linspace(start, end, len(strengths)).clamp(0, 1).tolist()
    return [
        Keyframe(float(strength), begin, guaranteed=1 if place == 0 else 0)
        for place, (strength, begin) in enumerate(zip(strengths, starts, strict=True))
    ]


def interpolated(first: float, last: float, count: int, method: str) -> list[float]:
    """`count` numbers from one to another: evenly, with a slow start, a slow end (squares), or both (a cosine).

    Raises ValueError for a method that is not one of INTERPOLATIONS and for fewer than 2 numbers.
    """
    if method not in INTERPOLATIONS:
        raise ValueError(f"There is no interpolation {method!r}: choose {', '.join(INTERPOLATIONS)}.")
    if count < 2:
        raise ValueError(f"Interpolation is between 2 keyframes at least; got {count}.")
    way = [place / (count - 1) for place in range(count)]
    eased = {
        "linear": way,
        "ease_in": [share**2 for share in way],
        "ease_out": [1 - (1 - share) ** 2 for share in way],
        "ease_in_out": [(1 - math.cos(share * math.pi)) / 2 for share in way],
    }[method]
    return [first + (last - first) * share for share in eased]
