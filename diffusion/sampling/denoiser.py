"""From the UNet to the denoiser that samplers see: the clean latent x0 for (x, sigma, text)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.sampling.batches import repeated
from diffusion.sampling.prediction import NOISE, Prediction
from diffusion.sampling.schedule import NoiseSchedule
from diffusion.types import Conditioning

UNetFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x [N, C, h, w], timesteps [N], context [N, T, D]) -> [N, 4, h, w]."""

_LONGEST_PADDING = 4
"""Contexts are repeated to a common length up to this many times; past that, another UNet call is cheaper."""


class _Job(NamedTuple):
    """One prompt of one conditioning, for the whole batch of latents. owner: the conditioning's position."""

    context: Tensor
    owner: int


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A UNet as a function from noisy to clean latents.

    extra: [B, c, h, w] further input channels, or None (see sampling.inpaint). The UNet computes in a dtype of
    its own; x and the result are float32.
    """

    unet: UNetFunction
    schedule: NoiseSchedule
    extra: Tensor | None = None
    prediction: Prediction = NOISE

    def predict(self, x: Tensor, sigma: float, conditionings: Sequence[Conditioning]) -> tuple[Tensor, ...]:
        """x0 under each conditioning, [B, 4, h, w] float32, in as few UNet calls as context lengths allow.

        A conditioning of several prompts gives the mean of their predictions.
        """
        jobs = [
            _Job(repeated(entry.embedding, len(x)).to(x.device), owner)
            for owner, conditioning in enumerate(conditionings)
            for entry in conditioning.entries
        ]
        totals = [torch.zeros_like(x) for _ in conditionings]
        for batch in _batches(jobs):
            outputs = self._denoised(x, sigma, _stacked([job.context for job in batch]))
            for job, output in zip(batch, outputs, strict=True):
                totals[job.owner] += output
        return tuple(
            total / len(conditioning.entries)
            for total, conditioning in zip(totals, conditionings, strict=True)
        )

    def _denoised(self, x: Tensor, sigma: float, contexts: Tensor) -> tuple[Tensor, ...]:
        """x0 for each of n contexts stacked in [n * B, T, D], in one UNet call."""
        count = len(contexts) // len(x)
        unit = x / self.prediction.deviation(sigma)
        seen = unit if self.extra is None else torch.cat([unit, self.extra], dim=1)
        timesteps = torch.full((len(contexts),), float(self.schedule.timestep(sigma)), device=x.device)
        output = self.unet(seen.repeat(count, 1, 1, 1), timesteps, contexts).float()
        return tuple(self.prediction.denoised(part, x, sigma) for part in output.chunk(count))


def _batches(jobs: Sequence[_Job]) -> list[list[_Job]]:
    batches: list[list[_Job]] = []
    for job in jobs:
        for batch in batches:
            if _stackable(batch[0].context.shape[1], job.context.shape[1]):
                batch.append(job)
                break
        else:
            batches.append([job])
    return batches


def _stackable(length: int, other: int) -> bool:
    return math.lcm(length, other) // min(length, other) <= _LONGEST_PADDING


def _stacked(contexts: Sequence[Tensor]) -> Tensor:
    """[B, T_i, D] each -> [n * B, T, D], T the least common multiple of the lengths.

    Attention over a context repeated whole is attention over the context: softmax divides by as much more.
    """
    length = math.lcm(*(context.shape[1] for context in contexts))
    return torch.cat([context.repeat(1, length // context.shape[1], 1) for context in contexts])
