"""From the UNet to the denoiser that samplers see: the clean latent x0 for (x, sigma, text)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.control.run import Seen
from diffusion.networks.attachments import Call, Hooks, HooksForCall, all_hooks
from diffusion.networks.attention import Prompt
from diffusion.sampling.parts import Part, Plan, weighted_mean
from diffusion.sampling.prediction import NOISE, Prediction
from diffusion.sampling.prompted import PromptedUNet, UNetFunction, stackable
from diffusion.sampling.schedule import NoiseSchedule
from diffusion.types import Cond, Conditioning


class _Job(NamedTuple):
    """One prompt of one conditioning, for the whole batch of latents. owner: the conditioning's position."""

    part: Part
    owner: int
    extra: Tensor | None
    reader: PromptedUNet

    @property
    def embedding(self) -> Tensor:
        """[1 or B, T, D]."""
        return self.part.entry.embedding

    def goes_with(self, other: _Job) -> bool:
        """Whether one call of the UNet can serve both."""
        return (
            self.part.box == other.part.box
            and self.extra is other.extra
            and self.reader is other.reader
            and stackable(self.embedding.shape[1], other.embedding.shape[1])
        )


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A UNet as a function from noisy to clean latents, for one sampling run.

    extra: [B, c, h, w] further input channels, or None; beside: gives those of a prompt, in their place. read: prepares
    prompts for the UNet, once for all steps. attached: what gives the hooks for each UNet call. control: what gives
    those of the controls that ride on prompts, which come first. plan: which prompts count where and when; by default
    every conditioning's own. hooked: gives the UNet for a prompt at a noise level, None for the plain one. The UNet
    computes in a dtype of its own; x and the result are float32.
    """

    unet: UNetFunction
    schedule: NoiseSchedule
    extra: Tensor | None = None
    prediction: Prediction = NOISE
    read: Callable[[Tensor], Prompt] = Prompt
    attached: tuple[HooksForCall, ...] = ()
    control: Callable[[Seen], Hooks] | None = None
    plan: Plan = field(default_factory=Plan)
    beside: Callable[[Cond], Tensor | None] | None = None
    hooked: Callable[[Cond, float], PromptedUNet | None] | None = None

    @cached_property
    def _plain(self) -> PromptedUNet:
        return PromptedUNet(self.unet, self.read)

    def predict(
        self,
        x: Tensor,
        sigma: float,
        conditionings: Sequence[Conditioning],
        /,
        *,
        attached: Sequence[HooksForCall] = (),
    ) -> tuple[Tensor, ...]:
        """x0 under each conditioning, [B, 4, h, w] float32, in as few UNet calls as areas and context lengths allow.

        A conditioning of several prompts gives the weighted mean of their predictions. attached: features for these
        calls alone, inside of those for all.
        """
        asked = tuple(conditionings)
        counting = [self.plan.at(conditioning, x, sigma) for conditioning in conditionings]
        jobs = [
            _Job(part, owner, self._extra(part.entry), self._reader(part.entry, sigma))
            for owner, parts in enumerate(counting)
            for part in parts
        ]
        found: list[list[Tensor]] = [[] for _ in conditionings]
        order: list[list[Part]] = [[] for _ in conditionings]
        for batch in _batches(jobs):
            for job, output in zip(batch, self._denoised(x, sigma, batch, asked, attached), strict=True):
                found[job.owner].append(output)
                order[job.owner].append(job.part)
        return tuple(weighted_mean(x, parts, outputs) for parts, outputs in zip(order, found, strict=True))

    def _extra(self, entry: Cond) -> Tensor | None:
        return self.extra if self.beside is None else self.beside(entry)

    def _reader(self, entry: Cond, sigma: float) -> PromptedUNet:
        hooked = None if self.hooked is None else self.hooked(entry, sigma)
        return hooked or self._plain

    def _denoised(
        self,
        x: Tensor,
        sigma: float,
        batch: Sequence[_Job],
        asked: tuple[Conditioning, ...],
        attached: Sequence[HooksForCall],
    ) -> tuple[Tensor, ...]:
        """x0 for each of the batch's prompts, in their box, in one UNet call."""
        box, extra, reader = batch[0].part.box, batch[0].extra, batch[0].reader
        here = x if box is None else box.of(x)
        unit = here / self.prediction.deviation(sigma)
        beside = extra if extra is None or box is None else box.of(extra)
        seen = unit if beside is None else torch.cat([unit, beside], dim=1)
        timestep = torch.full((1,), float(self.schedule.timestep(sigma)), device=x.device)
        prompt, hooks = reader.prompt([job.embedding for job in batch], x), []
        if self.control is not None:
            entries = [job.part.entry for job in batch]
            hooks.append(self.control(Seen(unit, timestep, sigma, entries, prompt.context)))
        parts = (box, *((id(job.embedding), job.part.entry.hooks) for job in batch))
        call = Call(x, sigma, tuple(job.owner for job in batch), asked, parts)
        hooks += [begun(call) for begun in (*self.attached, *attached)]
        output = reader.unet(seen, timestep, prompt, all_hooks(hooks)).float()
        return tuple(self.prediction.denoised(part, here, sigma) for part in output.chunk(len(batch)))


def _batches(jobs: Sequence[_Job]) -> list[list[_Job]]:
    batches: list[list[_Job]] = []
    for job in jobs:
        for batch in batches:
            if job.goes_with(batch[0]):
                batch.append(job)
                break
        else:
            batches.append([job])
    return batches
