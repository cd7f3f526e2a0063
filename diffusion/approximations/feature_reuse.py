"""Reuse of what the deep part of the UNet gave on an earlier step: it changes slowly, and costs nearly everything.

DeepCache (Ma et al. 2023, section 3.3) computes it on every n-th step; first-block caching, akin to TeaCache (Liu et
al. 2024), when what goes into it has changed enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from torch import Tensor

from diffusion.approximations.window import Window
from diffusion.networks.attachments import NO_HOOKS, Call, Hooks, Place


@dataclass(eq=False)
class Kept:
    """The last computed pass through the deep part, of one stream of UNet calls: those for the same prompts.

    given, result: what it was given and what it gave, [B, C, h, w]. reuses: how often the result has served again.
    """

    given: Tensor
    result: Tensor
    reuses: int = 0


class Policy(Protocol):
    """When a result serves again."""

    def serves(self, kept: Kept, given: Tensor) -> bool:
        """Whether what was kept may stand in for the pass of `given`, [B, C, h, w] of the same shape."""
        ...


@dataclass(frozen=True)
class EveryNth:
    """Computes on every n-th step and reuses on the n - 1 between. 1 reuses nothing."""

    interval: int

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"The interval is a number of steps, 1 at least; got {self.interval}.")

    def serves(self, kept: Kept, given: Tensor) -> bool:
        return kept.reuses + 1 < self.interval


@dataclass(frozen=True)
class WhileAlike:
    """Reuses while the mean change of what goes in, relative to its mean size, is below a threshold.

    threshold: 0 reuses nothing. most: reuses in a row, or None for any number.
    """

    threshold: float
    most: int | None = None

    def __post_init__(self) -> None:
        if not self.threshold >= 0 or (self.most is not None and self.most < 0):
            raise ValueError(
                f"The threshold and the most reuses in a row are 0 at least; got {self.threshold}, {self.most}."
            )

    def serves(self, kept: Kept, given: Tensor) -> bool:
        if self.most is not None and kept.reuses >= self.most:
            return False
        size = kept.given.abs().mean(dtype=given.float().dtype)
        change = (given - kept.given).abs().mean(dtype=size.dtype)
        return bool(change < self.threshold * size)


@dataclass(frozen=True, eq=False)
class FeatureReuse:
    """An attachment that reuses what lies below an input stage.

    depth: the last input stage that is computed on every step, from 0; the output stages across from it and above it
    are computed too. One beyond the UNet's last stage reuses nothing. window: where in the run results are reused.
    """

    depth: int
    policy: Policy
    window: Window = field(default_factory=Window)

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ValueError(f"The depth is a stage of the UNet, counted from 0; got {self.depth}.")

    def begin(self) -> Callable[[Call], Hooks]:
        return _Run(self).hooks


@dataclass(eq=False)
class _Run:
    """One sampling run. A step's calls are told apart by the prompts and the part of the picture they are for.

    x: the latents of the step at hand; its calls share this very tensor. streams: the step's calls so far. What was
    kept of a call that a step does without is out of date, and forgotten: guidance may apply to some steps only.
    """

    reuse: FeatureReuse
    kept: dict[tuple[object, ...], Kept] = field(default_factory=dict)
    x: Tensor | None = None
    streams: list[tuple[object, ...]] = field(default_factory=list)

    def hooks(self, call: Call) -> Hooks:
        if call.x is not self.x:
            self.kept = {stream: self.kept[stream] for stream in self.streams if stream in self.kept}
            self.x, self.streams = call.x, []
        stream = (len(self.streams), call.owners, call.parts)
        self.streams.append(stream)
        if call.sigma not in self.reuse.window:
            self.kept.clear()
            return NO_HOOKS
        return Hooks(inner=(partial(self._around, stream=stream),))

    def _around(
        self, descend: Callable[[Tensor], Tensor], h: Tensor, place: Place, *, stream: tuple[object, ...]
    ) -> Tensor:
        if place.index != self.reuse.depth:
            return descend(h)
        kept = self.kept.get(stream)
        if kept is not None and kept.given.shape == h.shape and self.reuse.policy.serves(kept, h):
            kept.reuses += 1
            return kept.result
        result = descend(h)
        self.kept[stream] = Kept(h, result)
        return result
