"""What controls add to the stages of a UNet, collected for one of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.networks.attachments import Hooks, Place
from diffusion.networks.unet_blocks import for_all


@dataclass(frozen=True, eq=False)
class Additions:
    """The sums of what is added at places of a UNet: of an output stage to its skip connection, else to the result.

    jobs: how many prompts the call has, for `batch` latents each; the call's rows are all latents under the first
    prompt, then under the second, and so on.
    """

    jobs: int
    batch: int
    totals: dict[Place, Tensor] = field(default_factory=dict)

    def add(self, at: Mapping[Place, Tensor], jobs: Sequence[int]) -> None:
        """Add [1 or batch or len(jobs) * batch, C, h, w] at each place, for these prompts alone."""
        for place, tensor in at.items():
            spread = self._spread(tensor, jobs)
            self.totals[place] = self.totals[place] + spread if place in self.totals else spread

    def _spread(self, tensor: Tensor, jobs: Sequence[int]) -> Tensor:
        """For all rows of the call, or one row that stands for all; 0 for the other prompts."""
        if len(jobs) == self.jobs:
            return tensor if len(tensor) == 1 else for_all(tensor, self.jobs * self.batch)
        result = tensor.new_zeros((self.jobs, self.batch, *tensor.shape[1:]))
        parts = tensor.chunk(len(jobs)) if len(tensor) == len(jobs) * self.batch else [tensor] * len(jobs)
        for job, part in zip(jobs, parts, strict=True):
            result[job] = part
        return result.flatten(0, 1)

    def hooks(self) -> Hooks:
        """What adds them."""
        return Hooks(join=(self._join,), after=(self._after,))

    def _join(self, h: Tensor, skip: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        return h, self._plus(skip, place)

    def _after(self, h: Tensor, place: Place) -> Tensor:
        return h if place.part == "output" else self._plus(h, place)

    def _plus(self, h: Tensor, place: Place) -> Tensor:
        total = self.totals.get(place)
        return h if total is None else torch.add(h, total.to(h.dtype))
