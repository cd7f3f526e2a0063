"""The original scripts' sampling of a small UNet against diffusers' schedulers and its UNet."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE
from diffusion.model import Model
from diffusion.runtime import Runtime
from diffusion.sampling.guidance import CFG
from diffusion.sampling.original import PromptBatch, ScriptOptions, sample_from_noise
from diffusion.types import Cond, Conditioning
from tests.diffusion.checkpoint_samples import UNET, networks
from tests.diffusion.reference import diffusers_unet

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE, SEED, SCALE, STEPS = (4, 8, 8), 3, 4.0, 10


def scheduler(method: str) -> Any:
    from diffusers import DDIMScheduler, PNDMScheduler

    common = {**BETAS, "set_alpha_to_one": False, "steps_offset": 1}
    if method == "plms":
        return PNDMScheduler(**common, skip_prk_steps=True)
    return DDIMScheduler(**common, clip_sample=False)


@pytest.mark.parametrize("method", ["ddim", "ddim with noise", "plms"])
def test_a_small_unet_gives_what_diffusers_gives(method: str) -> None:
    weights, _, _ = networks()
    theirs, eta = diffusers_unet(UNET, weights).eval(), 0.6 if method == "ddim with noise" else 0.0
    generator = torch.Generator().manual_seed(1)
    prompt, empty = (torch.randn(1, 77, UNET.context_dim, generator=generator) for _ in range(2))
    draws = torch.Generator().manual_seed(SEED)
    x = torch.randn(1, *SHAPE, generator=draws)

    def eps(x: Tensor, t: Tensor) -> Tensor:
        without, with_prompt = (theirs(x, t, encoder_hidden_states=each).sample for each in (empty, prompt))
        guided: Tensor = without + SCALE * (with_prompt - without)
        return guided

    steps = scheduler(method)
    steps.set_timesteps(STEPS)
    with torch.no_grad():
        for t in steps.timesteps:
            added = {"eta": eta, "variance_noise": torch.randn(x.shape, generator=draws)} if eta else {}
            x = steps.step(eps(x, t), t, x, **added).prev_sample
    positive, negative = (Conditioning((Cond(each),)) for each in (prompt, empty))
    found = sample_from_noise(
        CFG(Model(weights, UNET, Runtime()), positive, negative, SCALE),
        SHAPE,
        PromptBatch(("",), 0, 1),
        ScriptOptions(SEED, STEPS, eta, method == "plms"),
    )
    assert float((found.samples * LATENT_SCALE - x).norm() / x.norm()) < 1e-4
