"""Trains the UNet to predict the noise in cached latents; towards the end the text encoder may learn along."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion.networks.unet import UNet
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.text.text_encoder import TextEncoder
from training.loop import generator
from training.stages.latents import Latents

TIMESTEPS = 1000
NOISY_FROM = 850


@dataclass(frozen=True)
class NoiseSettings:
    """How a batch is made.

    captions: drawn for each part of a step. draws: noise draws for each caption. empty: the share of captions left
    empty, for guidance. noisy: the share of samples taken from the noisiest 150 timesteps, where it is decided
    what is where. weights are clamp(SNR, floor, ceiling) / SNR (Hang et al. 2023, with a floor added).
    frozen_steps: how long the text encoder stays as it is.
    """

    captions: int = 16
    draws: int = 2
    empty: float = 0.1
    noisy: float = 0.1
    floor: float = 0.05
    ceiling: float = 5.0
    frozen_steps: int = 1 << 30


class NoisePrediction:
    """The task of the UNet stage. network has the parts `unet` and `text`."""

    def __init__(
        self,
        unet: UNet,
        text: TextEncoder,
        latents: Latents,
        empty_ids: Tensor,
        *,
        seed: int,
        settings: NoiseSettings,
    ) -> None:
        self.network = nn.ModuleDict({"unet": unet, "text": text})
        self._unet, self._text, self._latents, self._empty_ids = unet, text, latents, empty_ids
        self._seed, self._settings = seed, settings
        snr = stable_diffusion_schedule().sigmas ** -2
        self._alphas = snr / (1 + snr)
        self._weights = snr.clamp(settings.floor, settings.ceiling) / snr
        self._states = encoded(text, latents.ids)
        self._empty_states = encoded(text, empty_ids)

    def loss(self, step: int, part: int) -> Tensor:
        """The weighted squared error of the predicted noise."""
        settings, random = self._settings, generator(self._seed, "unet", step, part)
        rows = torch.randint(len(self._latents.samples), (settings.captions,), generator=random)
        empty = torch.rand(settings.captions, generator=random) < settings.empty
        samples = self._latents.samples[rows].repeat(settings.draws, 1, 1, 1)
        times = self._times(len(samples), random)
        noise = torch.randn(samples.shape, generator=random)
        alphas = self._alphas[times].view(-1, 1, 1, 1)
        noisy = alphas.sqrt() * samples + (1 - alphas).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            context = self._context(rows, empty, step).repeat(settings.draws, 1, 1)
            predicted = self._unet(noisy, times, context)
        errors = (predicted.float() - noise).square().mean((1, 2, 3))
        return (errors * self._weights[times]).mean()

    def _times(self, count: int, random: torch.Generator) -> Tensor:
        """Timesteps spread evenly over all noise levels, some replaced by very noisy ones."""
        spread = (torch.arange(count) + torch.rand(count, generator=random)) / count
        times = (spread[torch.randperm(count, generator=random)] * TIMESTEPS).long().clamp(0, TIMESTEPS - 1)
        replaced = torch.rand(count, generator=random) < self._settings.noisy
        return torch.where(replaced, torch.randint(NOISY_FROM, TIMESTEPS, (count,), generator=random), times)

    def _context(self, rows: Tensor, empty: Tensor, step: int) -> Tensor:
        if step < self._settings.frozen_steps:
            return torch.where(empty[:, None, None], self._empty_states, self._states[rows])
        ids = torch.where(empty[:, None], self._empty_ids, self._latents.ids[rows])
        return self._text(ids).last


def encoded(text: TextEncoder, ids: Tensor, *, batch: int = 256) -> Tensor:
    """The text states of `ids` [N, 77], [N, 77, C] bfloat16, without gradients."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return torch.cat([text(rows).last.bfloat16() for rows in ids.split(batch)])
