"""Kohya's deep shrink: the deep part of the UNet sees a smaller picture while the composition forms.

So pictures larger than those that a model was trained on do not repeat what is in them (kohya-ss, sd-scripts, 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from diffusion.approximations.window import Window
from diffusion.config import UNetConfig
from diffusion.latents.resize import METHODS, resized
from diffusion.networks.attachments import NO_HOOKS, Call, Hooks, Place


@dataclass(frozen=True)
class DeepShrink:
    """An attachment. stage: the input stage below which the picture is smaller, counted from 0.

    factor: by how much. keep_skip: the skip connection of that stage is not shrunk. window: where in the run. shrink,
    enlarge: how, one of latents.resize.METHODS.
    """

    stage: int
    factor: float
    keep_skip: bool = True
    shrink: str = METHODS[0]
    enlarge: str = METHODS[0]
    window: Window = field(default_factory=Window)

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise ValueError(f"downscale_factor is above 0; got {self.factor}.")
        for method in (self.shrink, self.enlarge):
            if method not in METHODS:
                raise ValueError(
                    f"There is no way to resize called {method!r}: choose one of {', '.join(METHODS)}."
                )

    def check(self, config: UNetConfig) -> None:
        """Raise ValueError for a UNet that has no such stage."""
        stages = len(config.channels) * (config.blocks + 1)
        if self.stage >= stages:
            raise ValueError(
                f"This UNet's stages are numbered 0 to {stages - 1}, and block_number is {self.stage}."
            )

    def begin(self) -> Callable[[Call], Hooks]:
        shrunk = (
            Hooks(inner=(self._below,), join=(self._join,))
            if self.keep_skip
            else Hooks(after=(self._after,), join=(self._join,))
        )
        return lambda call: shrunk if call.sigma in self.window else NO_HOOKS

    def _below(self, descend: Callable[[Tensor], Tensor], h: Tensor, place: Place) -> Tensor:
        return descend(self._shrunk(h) if place.index == self.stage else h)

    def _after(self, h: Tensor, place: Place) -> Tensor:
        return self._shrunk(h) if place == Place("input", self.stage) else h

    def _shrunk(self, h: Tensor) -> Tensor:
        height, width = (max(round(side * (1.0 / self.factor)), 1) for side in h.shape[-2:])
        return _fitted(h, width, height, self.shrink)

    def _join(self, h: Tensor, skip: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        height, width = skip.shape[-2:]
        return (h if h.shape[-2:] == skip.shape[-2:] else _fitted(h, width, height, self.enlarge)), skip


def _fitted(h: Tensor, width: int, height: int, method: str) -> Tensor:
    return resized(h.float(), width, height, method).to(h.dtype)
