"""Nodes that denoise a latent."""

from collections.abc import Callable
from typing import Annotated

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.sample import sample
from diffusion.sampling.samplers import SAMPLERS
from diffusion.sampling.schedule import SCHEDULERS
from diffusion.types import Conditioning, Latent
from graph import QUIET, Choice, Context, Range, Seed, node

SeedInput = Annotated[int, Seed()]
Steps = Annotated[int, Range(1, 10_000)]
Cfg = Annotated[float, Range(0, 100, step=0.1)]
SamplerName = Annotated[str, Choice(tuple(SAMPLERS))]
SchedulerName = Annotated[str, Choice(tuple(SCHEDULERS))]
Switch = Annotated[str, Choice(("enable", "disable"))]
StepNumber = Annotated[int, Range(0, 10_000)]


def _report(ctx: Context) -> Callable[[int, int, Tensor], None]:
    def on_step(done: int, total: int, denoised: Tensor) -> None:
        ctx.progress(done, total, preview=denoised)

    return on_step


@node("KSampler", category="sampling")
def ksampler(
    *,
    model: Model,
    seed: SeedInput = 0,
    steps: Steps = 20,
    cfg: Cfg = 8.0,
    sampler_name: SamplerName = "euler",
    scheduler: SchedulerName = "normal",
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: Annotated[float, Range(0, 1, step=0.01)] = 1.0,
    ctx: Context = QUIET,
) -> Latent:
    """Denoise a latent towards one prompt and away from another, by classifier-free guidance (Ho and Salimans, 2022).

    Inputs:
        model: The model that denoises.
        seed: Where the noise comes from; the same seed gives the same picture.
        steps: How many steps to take.
        cfg: Guidance: 1 follows the model alone, higher values follow the prompt more closely.
        sampler_name: The method that takes the steps.
        scheduler: How the noise levels are spread over the steps.
        positive: What to show.
        negative: What to avoid.
        latent_image: What to start from: an empty latent, or an encoded picture.
        denoise: How much of the latent is made anew; below 1 keeps some of what was there (img2img).

    Outputs:
        LATENT: The denoised latent, [B, 4, H/8, W/8] float32.
    """
    return sample(
        model,
        positive=positive,
        negative=negative,
        latent=latent_image,
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler_name=sampler_name,
        scheduler=scheduler,
        denoise=denoise,
        on_step=_report(ctx),
    )


@node("KSamplerAdvanced", title="KSampler (Advanced)", category="sampling")
def ksampler_advanced(
    *,
    model: Model,
    add_noise: Switch = "enable",
    noise_seed: SeedInput = 0,
    steps: Steps = 20,
    cfg: Cfg = 8.0,
    sampler_name: SamplerName = "euler",
    scheduler: SchedulerName = "normal",
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    start_at_step: StepNumber = 0,
    end_at_step: StepNumber = 10_000,
    return_with_leftover_noise: Annotated[str, Choice(("disable", "enable"))] = "disable",
    ctx: Context = QUIET,
) -> Latent:
    """Denoise a latent over part of a schedule, so that several samplers can share one run.

    Inputs:
        model: The model that denoises.
        add_noise: Whether to add noise first; disable it when the latent still carries some.
        noise_seed: Where the noise comes from.
        steps: The length of the whole schedule.
        cfg: Guidance: 1 follows the model alone, higher values follow the prompt more closely.
        sampler_name: The method that takes the steps.
        scheduler: How the noise levels are spread over the steps.
        positive: What to show.
        negative: What to avoid.
        latent_image: What to start from.
        start_at_step: The first step to take.
        end_at_step: The step to stop before; more than `steps` means to the end.
        return_with_leftover_noise: Keep the noise of an early end instead of removing it in the last step.

    Outputs:
        LATENT: The latent, [B, 4, H/8, W/8] float32.
    """
    return sample(
        model,
        positive=positive,
        negative=negative,
        latent=latent_image,
        seed=noise_seed,
        steps=steps,
        cfg=cfg,
        sampler_name=sampler_name,
        scheduler=scheduler,
        disable_noise=add_noise == "disable",
        start_step=start_at_step,
        last_step=end_at_step,
        force_full_denoise=return_with_leftover_noise == "disable",
        on_step=_report(ctx),
    )
