"""InstructPix2Pix from its picture to the last latent, against diffusers' pipeline on the same random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE, UNetConfig, VAEConfig
from diffusion.model import Model, Vae
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.runtime import Runtime
from diffusion.types import Cond, Conditioning, Image
from tests.diffusion.reference import diffusers_unet, diffusers_vae, random_weights, relative_error
from tests.nodes.toys import call

UNET = UNetConfig(
    in_channels=8,
    channels=(32, 64),
    attention=(True, False),
    blocks=1,
    context_dim=16,
    num_heads=2,
    norm_groups=8,
)
VAE = VAEConfig(channels=(16, 16, 16, 16), blocks=1, norm_groups=8)
RUNTIME = Runtime()
STEPS = 4
"""So that diffusers' timesteps, which lie evenly from 999 to 0, are whole: between two it takes other noise levels."""
SEED = 11


@dataclass(frozen=True)
class Scales:
    """How strongly the prompt is followed, and how strongly the picture."""

    text: float = 6.0
    picture: float = 1.5


@cache
def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return random_weights(lambda: UNet(UNET), 1), random_weights(lambda: Autoencoder(VAE), 2)


def prompt(seed: int) -> Tensor:
    return torch.randn(1, 77, 16, generator=torch.Generator().manual_seed(seed))


def picture() -> Image:
    return Image(torch.rand(1, 48, 64, 3, generator=torch.Generator().manual_seed(3)))


def ours(scales: Scales, pixels: Image) -> Tensor:
    """The last latent, by nodes wired as workflows for such models wire them."""
    unet, vae = weights()
    model = Model(unet, UNET, RUNTIME)
    text, empty = (Conditioning((Cond(prompt(seed)),)) for seed in (1, 2))
    shown = call(
        "InstructPixToPixConditioning",
        positive=text,
        negative=empty,
        vae=Vae(vae, VAE, RUNTIME),
        pixels=pixels,
    )
    guider = call(
        "DualCFGGuider",
        model=model,
        cond1=shown.positive,
        cond2=shown.negative,
        negative=empty,
        cfg_conds=scales.text,
        cfg_cond2_negative=scales.picture,
    )
    sampled = call(
        "SamplerCustomAdvanced",
        noise=call("RandomNoise", noise_seed=SEED),
        guider=guider,
        sampler=call("KSamplerSelect", sampler_name="euler"),
        sigmas=call("BasicScheduler", model=model, scheduler="normal", steps=STEPS, denoise=1.0),
        latent_image=shown.latent,
    )
    samples = sampled.output.samples
    assert isinstance(samples, Tensor)
    return samples * LATENT_SCALE


def theirs(scales: Scales, pixels: Image) -> Tensor:
    """The last latent of diffusers' pipeline from the same noise."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionInstructPix2PixPipeline

    unet, vae = weights()
    scheduler: Any = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace"
    )
    pipeline: Any = StableDiffusionInstructPix2PixPipeline(
        vae=diffusers_vae(VAE, vae),
        text_encoder=None,
        tokenizer=None,
        unet=diffusers_unet(UNET, unet),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(SEED))
    # With this spacing it scales noise to the first level, and we as the model was trained: with a picture below it.
    scheduler.set_timesteps(STEPS)
    level = float(scheduler.init_noise_sigma)
    found = pipeline(
        image=pixels.permute(0, 3, 1, 2),
        prompt_embeds=prompt(1),
        negative_prompt_embeds=prompt(2),
        num_inference_steps=STEPS,
        guidance_scale=scales.text,
        image_guidance_scale=scales.picture,
        latents=noise * (math.sqrt(1 + level**2) / level),
        output_type="latent",
    ).images
    assert isinstance(found, Tensor)
    return found


@torch.no_grad()
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # torch tensors, inside diffusers
@pytest.mark.parametrize("scales", [Scales(), Scales(text=3.0, picture=2.5), Scales(text=2.0, picture=1.0)])
def test_a_picture_is_changed_as_diffusers_changes_it(scales: Scales) -> None:
    assert relative_error(ours(scales, picture()), theirs(scales, picture())) < 1e-4


@torch.no_grad()
def test_prompt_and_picture_lead_each_by_its_own_scale() -> None:
    usual = ours(Scales(), picture())
    for scales in (Scales(text=3.0), Scales(picture=3.0)):
        assert relative_error(ours(scales, picture()), usual) > 0.01
    assert relative_error(ours(Scales(), Image(picture().flip(2))), usual) > 0.01
