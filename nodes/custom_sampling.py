"""Nodes that sample with every part chosen: noise, guider, sampler and noise levels."""

from typing import Annotated, NamedTuple

from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.guidance import CFG, Guider
from diffusion.sampling.sample import sample_custom
from diffusion.sampling.samplers import Sampler
from diffusion.sampling.starting_noise import Noise, with_noise
from diffusion.types import Conditioning, Latent, Sigmas
from graph import QUIET, Choice, Context, node
from nodes.sampling import Cfg, SeedInput

CATEGORY = "sampling/custom_sampling"


class Sampled(NamedTuple):
    """Where sampling ended, and the clean latent that it last saw."""

    output: Latent
    denoised_output: Latent


def _sampled(
    noise: Noise, guider: Guider, sampler: Sampler, sigmas: Sigmas, latent: Latent, ctx: Context
) -> Sampled:
    last: list[Tensor] = []

    def on_step(done: int, total: int, denoised: Tensor) -> None:
        last[:] = [denoised]
        ctx.progress(done, total, preview=denoised)

    drawn = noise.draw(latent, guider.model.runtime.placement.device)
    output = sample_custom(
        guider, sampler, sigmas, noise=drawn, latent=latent, seed=noise.seed, on_step=on_step
    )
    seen = [output.samples] if not last else [last[0].to(output.samples.device)]
    return Sampled(output, Latent(seen[0], latent.noise_mask, latent.batch_index))


@node("SamplerCustom", category=CATEGORY)
def sampler_custom(
    *,
    model: Model,
    add_noise: bool = True,
    noise_seed: SeedInput = 0,
    cfg: Cfg = 8.0,
    positive: Conditioning,
    negative: Conditioning,
    sampler: Sampler,
    sigmas: Sigmas,
    latent_image: Latent,
    ctx: Context = QUIET,
) -> Sampled:
    """Denoise a latent with a sampler and noise levels of one's own.

    Inputs:
        model: The model that denoises.
        add_noise: Whether to add noise first; not when the latent still carries some.
        noise_seed: Where the noise comes from.
        cfg: Guidance: 1 follows the model alone, higher values follow the prompt more closely.
        positive: What to show.
        negative: What to avoid.
        sampler: The method that takes the steps.
        sigmas: The noise levels; none leave the latent as it is.
        latent_image: What to start from.

    Outputs:
        output: The latent at the last level, [B, 4, H/8, W/8] float32.
        denoised_output: What the model took it for at the last step, without noise.
    """
    noise = Noise(noise_seed, none=not add_noise)
    guider = CFG(model, positive, negative, cfg)
    return _sampled(noise, guider, sampler, sigmas, latent_image, ctx)


@node("SamplerCustomAdvanced", category=CATEGORY)
def sampler_custom_advanced(
    *,
    noise: Noise,
    guider: Guider,
    sampler: Sampler,
    sigmas: Sigmas,
    latent_image: Latent,
    ctx: Context = QUIET,
) -> Sampled:
    """Denoise a latent with noise, guider, sampler and noise levels of one's own.

    Inputs:
        noise: The noise to start from.
        guider: The model, and what it is to follow.
        sampler: The method that takes the steps.
        sigmas: The noise levels; none leave the latent as it is.
        latent_image: What to start from.

    Outputs:
        output: The latent at the last level, [B, 4, H/8, W/8] float32.
        denoised_output: What the model took it for at the last step, without noise.
    """
    return _sampled(noise, guider, sampler, sigmas, latent_image, ctx)


@node("RandomNoise", category="sampling/custom_sampling/noise")
def random_noise(
    *, noise_seed: SeedInput = 0, rand_device: Annotated[str, Choice(("cpu", "device"))] = "cpu"
) -> Noise:
    """Noise from a seed.

    Inputs:
        noise_seed: Where the noise comes from.
        rand_device: Drawn on the CPU, the same everywhere, or on the device that computes, as some programs do.

    Outputs:
        NOISE: The noise.
    """
    return Noise(noise_seed, on_device=rand_device == "device")


@node("DisableNoise", category="sampling/custom_sampling/noise")
def disable_noise() -> Noise:
    """No noise: the latent brings its own.

    Outputs:
        NOISE: Zeros. A sampler that adds noise along the way draws it from seed 0.
    """
    return Noise(0, none=True)


@node("AddNoise", category="_for_testing/custom_sampling/noise")
def add_noise(*, model: Model, noise: Noise, sigmas: Sigmas, latent_image: Latent) -> Latent:
    """Add noise to a latent without sampling.

    Inputs:
        model: Where it computes says where noise is drawn that is not drawn on the CPU.
        noise: The noise.
        sigmas: As much as lies between the first and the last of these; of one level, all of it.
        latent_image: What to add it to.

    Outputs:
        LATENT: The noisy latent, [B, 4, H/8, W/8] float32.
    """
    return with_noise(latent_image, noise.draw(latent_image, model.runtime.placement.device), sigmas)
