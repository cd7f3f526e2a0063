"""Nodes that show a picture to inpainting and editing models."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.checkpoints.detect import unet_config
from diffusion.checkpoints.facts import Facts
from diffusion.config import UNetConfig
from diffusion.model import Vae
from diffusion.networks.unet import UNet
from diffusion.runtime import Runtime
from diffusion.types import Image, Mask
from nodes.conditioning_pictures import (
    WithPicture,
    inpaint_model_conditioning,
    instruct_pix_to_pix_conditioning,
)
from nodes.latent import vae_encode
from tests.diffusion.reference import random_weights
from tests.nodes.toys import prompt

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def vae() -> Vae:
    vae = load_checkpoint(ROOT / "models" / "checkpoints" / "weft-tiny.safetensors", Runtime()).vae
    assert vae is not None
    return vae


def picture(height: int = 37, width: int = 45) -> Image:
    return Image(torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(0)))


def hole() -> Mask:
    mask = torch.zeros(1, 37, 45)
    mask[:, 10:30, 20:] = 1
    mask[:, 10:30, 16:20] = 0.3
    return Mask(mask)


def inpaint(vae: Vae, *, noise_mask: bool = True, mask: Mask | None = None) -> WithPicture:
    return inpaint_model_conditioning(
        positive=prompt("positive"),
        negative=prompt("negative"),
        vae=vae,
        pixels=picture(),
        mask=hole() if mask is None else mask,
        noise_mask=noise_mask,
    )


def test_both_prompts_carry_the_picture_with_its_hole_grey(vae: Vae) -> None:
    made = inpaint(vae)
    cropped = picture()[:, 2:34, 2:42].clone()
    cropped[:, 8:28, 18:] = 0.5
    expected = vae_encode(pixels=Image(cropped), vae=vae).samples
    for conditioning in (made.positive, made.negative):
        (entry,) = conditioning.entries
        assert entry.source is not None
        torch.testing.assert_close(entry.source.latent, expected)
        assert entry.source.mask is not None
        torch.testing.assert_close(entry.source.mask[:, 0], hole()[:, 2:34, 2:42])
    assert made.positive.entries[0].source is made.negative.entries[0].source


def test_the_latent_is_of_the_whole_picture(vae: Vae) -> None:
    made = inpaint(vae)
    assert torch.equal(made.latent.samples, vae_encode(pixels=picture(), vae=vae).samples)
    assert made.latent.noise_mask is not None
    torch.testing.assert_close(made.latent.noise_mask[:, 0], hole()[:, 2:34, 2:42])
    assert inpaint(vae, noise_mask=False).latent.noise_mask is None


def test_a_mask_of_another_size_is_stretched(vae: Vae) -> None:
    small = Mask((torch.arange(16).reshape(1, 4, 4) % 2).float())
    (entry,) = inpaint(vae, mask=small).positive.entries
    stretched = F.interpolate(small[None], size=(37, 45), mode="bilinear")[:, :, 2:34, 2:42]
    assert entry.source is not None
    torch.testing.assert_close(entry.source.mask, stretched)


def test_an_empty_mask_is_refused(vae: Vae) -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        inpaint(vae, mask=Mask(torch.zeros(1, 8, 8)))


def test_a_picture_to_change_comes_with_an_empty_latent(vae: Vae) -> None:
    made = instruct_pix_to_pix_conditioning(
        positive=prompt("positive"), negative=prompt("negative"), vae=vae, pixels=picture()
    )
    expected = vae_encode(pixels=picture(), vae=vae).samples
    for conditioning in (made.positive, made.negative):
        source = conditioning.entries[0].source
        assert source is not None
        assert torch.equal(source.latent, expected)
        assert source.mask is None
    assert torch.equal(made.latent.samples, torch.zeros_like(expected))


@pytest.mark.parametrize("channels", [4, 8, 9])
def test_models_that_see_a_picture_are_known_by_their_weights(channels: int) -> None:
    config = UNetConfig(
        in_channels=channels,
        channels=(32, 64),
        attention=(True, False),
        blocks=1,
        context_dim=16,
        num_heads=2,
        norm_groups=8,
    )
    weights = random_weights(lambda: UNet(config))
    facts = replace(Facts(), num_heads=2, unet_groups=8)
    assert unet_config(Path("toy.safetensors"), weights, facts) == config
