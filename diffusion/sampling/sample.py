"""Sampling from end to end: latent, prompts and a seed in, latent out. What the sampler nodes call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from diffusion.config import LATENT_CHANNELS, LATENT_SCALE
from diffusion.control.run import begin_controls
from diffusion.hooks.run import begin_hooks
from diffusion.model import Model
from diffusion.sampling.beside import Inputs
from diffusion.sampling.checks import (
    check_conditionings,
    check_latent,
    check_noise,
    check_result,
    check_sigmas,
)
from diffusion.sampling.denoiser import Denoiser
from diffusion.sampling.guidance import CFG, GuidedDenoiser, Guider
from diffusion.sampling.inpaint import Region, fit_mask
from diffusion.sampling.lookup import find
from diffusion.sampling.noise import initial_noise
from diffusion.sampling.parts import Plan
from diffusion.sampling.samplers import SAMPLERS, OnStep, Sampler, run_steps
from diffusion.sampling.schedule import sampling_sigmas, starting_level, step_range
from diffusion.types import Conditioning, Latent


def sample(
    model: Model,
    *,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    denoise: float = 1.0,
    disable_noise: bool = False,
    start_step: int | None = None,
    last_step: int | None = None,
    force_full_denoise: bool = False,
    on_step: OnStep | None = None,
) -> Latent:
    """Denoise a latent towards the positive prompt and away from the negative one.

    cfg: guidance scale; 1 ignores the negative prompt. denoise: 0..1, the share of the schedule to run; below 1 the
    latent shows through. start_step, last_step: run only these of the steps (the end excluded); force_full_denoise
    makes the last of them remove all noise. disable_noise: add none at the start (the latent brings its own).
    on_step is told (steps done, steps in all, x0 [B, 4, h, w] in the VAE's scale); what it raises ends the run.

    Returns the latent with new samples, [B, 4, h, w] float32 in the VAE's scale. Raises ValueError, saying what to
    change, for inputs that do not fit the model or each other.
    """
    sampler = find(SAMPLERS, sampler_name, kind="sampler")
    check_latent(latent)
    sigmas = step_range(
        sampling_sigmas(
            model.schedule,
            scheduler,
            steps=steps,
            denoise=denoise,
            discard_penultimate=sampler.discard_penultimate,
        ),
        start=start_step,
        last=last_step,
        finish=force_full_denoise,
    )
    noise = (
        torch.zeros_like(latent.samples)
        if disable_noise
        else initial_noise(latent.samples, seed, latent.batch_index)
    )
    guider = CFG(model, positive, negative, cfg)
    return sample_custom(guider, sampler, sigmas, noise=noise, latent=latent, seed=seed, on_step=on_step)


def sample_custom(
    guider: Guider,
    sampler: Sampler,
    sigmas: Tensor,
    *,
    noise: Tensor,
    latent: Latent,
    seed: int,
    on_step: OnStep | None = None,
) -> Latent:
    """The same with every part chosen: what to follow, how, at which levels, from what noise.

    sigmas: [n + 1] float32, or empty: the latent comes back as it is. noise: like latent.samples, unit normal or zero.
    seed: of the noise that the sampler adds along the way. Raises ValueError also when the result is not finite.
    """
    check_latent(latent)
    check_conditionings(guider.conditionings, guider.model, len(latent.samples))
    check_sigmas(sigmas)
    check_noise(noise, latent)
    if len(sigmas) == 0:
        return latent
    _check_size_may_change(sampler, guider.model, latent)
    clean = latent.samples.to(guider.model.runtime.placement.device, torch.float32) * LATENT_SCALE
    noise = noise.to(clean)
    mask = fit_mask(latent.noise_mask, clean) if latent.noise_mask is not None else None
    outside = initial_noise(clean, seed + 1).to(clean) if sampler.own_mask_noise else noise
    model, schedule = guider.model, guider.model.schedule
    rule = None if model.mask_rule is None else partial(model.mask_rule, sigmas, schedule)
    region = Region(mask, clean, outside, rule) if mask is not None else None

    inputs = Inputs.of(model.config.in_channels, clean, mask, guider.conditionings)
    plan = Plan.of(schedule, sigmas, _compared(guider), clean)
    asked = [plan.whole(conditioning) for conditioning in guider.conditionings]
    control = begin_controls(asked, model)
    hooked = begin_hooks(asked, model, sigmas)
    unet = model.runtime.unet(model)
    attached = tuple(attachment.begin() for attachment in model.attachments)
    denoiser = Denoiser(
        unet, schedule, None, model.prediction, unet.read, attached, control, plan, inputs.beside, hooked
    )
    denoise = GuidedDenoiser(guider, denoiser.predict, region)
    with torch.no_grad():
        x = clean + noise * starting_level(schedule, float(sigmas[0]))
        run = sampler.steps(denoise, x, sigmas, sampler.noise(x, sigmas, seed))
        x = run_steps(run, x, total=len(sigmas) - 1, on_step=_in_vae_scale(on_step))
    check_result(x)
    return replace(latent, samples=(x / LATENT_SCALE).to(latent.samples.device))


def _compared(guider: Guider) -> Sequence[Conditioning]:
    """Those of a guider's conditionings that it compares; what changes of guidance may ask for comes after them."""
    added = len(guider.model.guidance.conditionings)
    return guider.conditionings[: len(guider.conditionings) - added]


def _check_size_may_change(sampler: Sampler, model: Model, latent: Latent) -> None:
    if not sampler.resizes:
        return
    if latent.noise_mask is not None:
        raise ValueError(
            "This sampler changes the latent's size, which its noise mask cannot follow. Take the mask off, or another "
            "sampler."
        )
    if model.config.in_channels != LATENT_CHANNELS:
        raise ValueError(
            "This sampler changes the latent's size, which the picture that this model sees beside it cannot follow. "
            "Choose another sampler."
        )


def _in_vae_scale(on_step: OnStep | None) -> OnStep | None:
    if on_step is None:
        return None
    return lambda done, total, denoised: on_step(done, total, denoised / LATENT_SCALE)
