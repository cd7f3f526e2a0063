"""From the UNet to the denoiser that samplers see: the clean latent x0 for (x, sigma, text)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.networks.attachments import Call, Hooks, HooksForCall, all_hooks
from diffusion.networks.attention import Prompt
from diffusion.sampling.batches import repeated
from diffusion.sampling.prediction import NOISE, Prediction
from diffusion.sampling.schedule import NoiseSchedule
from diffusion.types import Cond, Conditioning

UNetFunction = Callable[[Tensor, Tensor, Prompt, Hooks], Tensor]
"""(x [B, C, h, w], timestep [1], prompts [n * B, T, D], hooks) -> [n * B, 4, h, w], as UNet.forward."""

_LONGEST_PADDING = 4
"""Contexts are repeated to a common length up to this many times; past that, another UNet call is cheaper."""

_PROMPTS_KEPT = 8
"""Steps may ask for different prompts in turn; about 8 MB each for Stable Diffusion 1.5."""


class _Job(NamedTuple):
    """One prompt of one conditioning, for the whole batch of latents. owner: the conditioning's position."""

    entry: Cond
    owner: int


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A UNet as a function from noisy to clean latents, for one sampling run.

    extra: [B, c, h, w] further input channels, or None (see sampling.inpaint). read: prepares prompts for the UNet,
    once for all steps. attached: what gives the hooks for each UNet call. The UNet computes in a dtype of its own; x
    and the result are float32.
    """

    unet: UNetFunction
    schedule: NoiseSchedule
    extra: Tensor | None = None
    prediction: Prediction = NOISE
    read: Callable[[Tensor], Prompt] = Prompt
    attached: tuple[HooksForCall, ...] = ()
    _prompts: OrderedDict[tuple[object, ...], Prompt] = field(default_factory=OrderedDict, init=False)

    def predict(
        self,
        x: Tensor,
        sigma: float,
        conditionings: Sequence[Conditioning],
        /,
        *,
        attached: Sequence[HooksForCall] = (),
    ) -> tuple[Tensor, ...]:
        """x0 under each conditioning, [B, 4, h, w] float32, in as few UNet calls as context lengths allow.

        A conditioning of several prompts gives the mean of their predictions. attached: features for these calls
        alone, inside of those for all.
        """
        asked = tuple(conditionings)
        jobs = [
            _Job(entry, owner)
            for owner, conditioning in enumerate(conditionings)
            for entry in conditioning.entries
        ]
        totals = [torch.zeros_like(x) for _ in conditionings]
        for batch in _batches(jobs):
            for job, output in zip(batch, self._denoised(x, sigma, batch, asked, attached), strict=True):
                totals[job.owner] += output
        return tuple(
            total / len(conditioning.entries)
            for total, conditioning in zip(totals, conditionings, strict=True)
        )

    def _denoised(
        self,
        x: Tensor,
        sigma: float,
        batch: Sequence[_Job],
        asked: tuple[Conditioning, ...],
        attached: Sequence[HooksForCall],
    ) -> tuple[Tensor, ...]:
        """x0 for each of the batch's prompts, in one UNet call."""
        unit = x / self.prediction.deviation(sigma)
        seen = unit if self.extra is None else torch.cat([unit, self.extra], dim=1)
        timestep = torch.full((1,), float(self.schedule.timestep(sigma)), device=x.device)
        call = Call(x, sigma, tuple(job.owner for job in batch), asked)
        hooks = all_hooks(begun(call) for begun in (*self.attached, *attached))
        output = self.unet(seen, timestep, self._prompt(batch, x), hooks).float()
        return tuple(self.prediction.denoised(part, x, sigma) for part in output.chunk(len(batch)))

    def _prompt(self, batch: Sequence[_Job], x: Tensor) -> Prompt:
        """The batch's prompts stacked, [n * B, T, D], from the last few that were asked for if possible."""
        key = (len(x), *(job.entry for job in batch))
        if key not in self._prompts:
            contexts = [repeated(job.entry.embedding, len(x)).to(x.device) for job in batch]
            self._prompts[key] = self.read(_stacked(contexts))
        self._prompts.move_to_end(key)
        if len(self._prompts) > _PROMPTS_KEPT:
            self._prompts.popitem(last=False)
        return self._prompts[key]


def _batches(jobs: Sequence[_Job]) -> list[list[_Job]]:
    batches: list[list[_Job]] = []
    for job in jobs:
        for batch in batches:
            if _stackable(batch[0].entry.embedding.shape[1], job.entry.embedding.shape[1]):
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
