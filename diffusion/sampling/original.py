"""Sampling as the original Stable Diffusion scripts do it: their timesteps, their draws of noise, their scale.

Their loops are DDIM and PLMS of `samplers/` in the variables of Ho et al. 2020, where x is x here / sqrt(1 + sigma^2).
What differs from KSampler: they start from unit noise in those variables at whatever level comes first, they end at
timestep 0 instead of at no noise, and all numbers of a run come from one generator, one draw after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE
from diffusion.latents.checks import check_count
from diffusion.sampling.guidance import Guider
from diffusion.sampling.noise import CPU, StepNoise, seeded
from diffusion.sampling.sample import sample_custom
from diffusion.sampling.samplers import OnStep, sampler_with
from diffusion.sampling.schedule import NoiseSchedule
from diffusion.types import Latent


@dataclass(frozen=True)
class PromptBatch:
    """Prompts sampled together. number: of the batches that the run sampled before; size: of a full batch."""

    prompts: tuple[str, ...]
    number: int
    size: int


@dataclass(frozen=True)
class ScriptOptions:
    """--seed, --ddim_steps, --ddim_eta, --plms, --fixed_code. on_device: draw where the model computes, as they did.

    Raises ValueError for PLMS with an eta: the method adds no noise.
    """

    seed: int = 42
    steps: int = 50
    eta: float = 0.0
    plms: bool = False
    fixed_code: bool = False
    on_device: bool = False

    def __post_init__(self) -> None:
        if self.plms and self.eta != 0:
            raise ValueError(
                f"PLMS adds no noise, so ddim_eta must be 0 with it; got {self.eta}. Set plms to false for DDIM."
            )


def prompt_batches(prompts: Sequence[str], *, n_iter: int, n_samples: int) -> list[PromptBatch]:
    """The prompts, `n_samples` at a time, all of them `n_iter` times over."""
    chunks = [tuple(prompts[i : i + n_samples]) for i in range(0, len(prompts), n_samples)]
    return [PromptBatch(chunk, number, n_samples) for number, chunk in enumerate(chunks * n_iter)]


def script_levels(schedule: NoiseSchedule, steps: int) -> Tensor:
    """The levels of every (N // steps)-th timestep from 1 on, [n] ascending; n is more than `steps` where that
    leaves a remainder. Raises ValueError unless there are 1 to N steps."""
    trained = schedule.sigmas
    if not 1 <= steps <= len(trained):
        raise ValueError(f"ddim_steps must lie between 1 and {len(trained)}; got {steps}.")
    return trained[1 :: len(trained) // steps]


def sample_from_noise(
    guider: Guider,
    shape: tuple[int, int, int],
    batch: PromptBatch,
    options: ScriptOptions,
    *,
    on_step: OnStep | None = None,
) -> Latent:
    """What txt2img.py samples for one batch, a latent for each of its prompts. shape: C, H // f, W // f.

    Raises ValueError for options and shapes that cannot be, and as `sample_custom` does.
    """
    check_count(batch.size, *shape)
    levels = script_levels(guider.model.schedule, options.steps)
    draws = _draws(options, (batch.size, *shape), guider)
    code = next(draws) if options.fixed_code else None
    # They draw noise for every step, and twice in PLMS' first, even where nothing of it is added.
    each = len(levels) + options.plms + (not options.fixed_code)
    _skip(draws, batch.number * each)
    start = next(draws) if code is None else code
    return _sampled(guider, start, levels, _Run(batch, options, draws, on_step))


def sample_from_picture(
    guider: Guider,
    latent: Latent,
    batch: PromptBatch,
    options: ScriptOptions,
    *,
    strength: float,
    on_step: OnStep | None = None,
) -> Latent:
    """What img2img.py samples for one batch from `latent`, [1, 4, h, w]: noised, then denoised int(strength * steps).

    It adds the noise of one level more than it removes. Where there is none more (strength 1), which ends the script,
    that of the last level. Raises ValueError for more than one latent, and as `sample_from_noise` does.
    """
    if len(latent.samples) != 1:
        raise ValueError(
            f"img2img starts from one picture; got {len(latent.samples)}. Choose one with LatentFromBatch."
        )
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie between 0 and 1; got {strength}.")
    levels = script_levels(guider.model.schedule, options.steps)
    taken = int(strength * options.steps)
    clean = latent.samples.float().cpu() * LATENT_SCALE
    draws = _draws(options, (batch.size, *clean.shape[1:]), guider)
    _skip(draws, batch.number * (1 + taken))
    level = float(levels[min(taken, len(levels) - 1)])
    noised = (clean + next(draws) * level) / math.sqrt(1 + level**2)
    return _sampled(guider, noised, levels[:taken], _Run(batch, options, draws, on_step))


@dataclass(frozen=True, eq=False)
class _Run:
    batch: PromptBatch
    options: ScriptOptions
    draws: Iterator[Tensor]
    on_step: OnStep | None

    def step_noise(self, x: Tensor, sigmas: Tensor, seed: int) -> StepNoise:
        return lambda sigma, after: next(self.draws)[: len(x)].to(x)


def _sampled(guider: Guider, start: Tensor, levels: Tensor, run: _Run) -> Latent:
    """From `start` [B, C, h, w], in their variables at the highest of `levels`, down to timestep 0."""
    sigmas = torch.cat([levels.flip(0), guider.model.schedule.sigmas[:1]])
    first, last = (math.sqrt(1 + float(sigmas[i]) ** 2) for i in (0, -1))
    x = start[: len(run.batch.prompts)] * (first / LATENT_SCALE)
    sampler = sampler_with("plms") if run.options.plms else sampler_with("ddim", eta=run.options.eta)
    result = sample_custom(
        guider,
        replace(sampler, noise=run.step_noise),
        sigmas,
        noise=torch.zeros_like(x),
        latent=Latent(x),
        seed=run.options.seed,
        on_step=run.on_step,
    )
    return replace(result, samples=result.samples / last)


def _draws(options: ScriptOptions, shape: tuple[int, ...], guider: Guider) -> Iterator[Tensor]:
    device = guider.model.runtime.placement.device if options.on_device else CPU
    generator = seeded(options.seed, device)
    while True:
        yield torch.randn(shape, generator=generator, device=device).cpu()


def _skip(draws: Iterator[Tensor], count: int) -> None:
    for _ in islice(draws, count):
        pass
