"""Latents to small pictures by one matrix."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from diffusion.approximations.latent_rgb import LatentRgb, fit, fit_to_vae
from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.codec import encode_image
from diffusion.runtime import Runtime
from diffusion.types import Image, Latent
from training.drawing.mixture import BALANCED
from training.examples import as_pixels, example

CHECKPOINT = Path(__file__).parents[3] / "models" / "checkpoints" / "weft-tiny.safetensors"


def test_a_linear_relation_is_found_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(2, 4, 5, 7, generator=generator)
    matrix, bias = torch.randn(4, 3, generator=generator) * 0.05, torch.tensor([0.4, 0.5, 0.6])
    colours = samples.permute(0, 2, 3, 1) @ matrix + bias
    pictures = colours.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    found = fit(Latent(samples), Image(pictures))
    torch.testing.assert_close(found.matrix, matrix, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bias, bias, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found(Latent(samples)), colours.clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_patches_of_colour_serve_about_as_well_as_the_pictures_themselves() -> None:
    vae = load_checkpoint(CHECKPOINT, Runtime()).vae
    drawn = [example(5, "preview", number, mixture=BALANCED).picture for number in range(8)]
    pictures = Image((as_pixels(drawn).permute(0, 2, 3, 1) + 1) / 2)
    small = F.avg_pool2d(pictures.permute(0, 3, 1, 2), 8).permute(0, 2, 3, 1)
    latent = encode_image(vae, pictures)

    def error(mapping: LatentRgb) -> float:
        preview = mapping(latent)
        assert preview.shape == (8, 16, 16, 3)
        return float((preview - small).square().mean())

    assert error(fit_to_vae(vae)) < 1.5 * error(fit(latent, pictures))
    assert error(fit_to_vae(vae)) < 0.7 * float((small - small.mean()).square().mean())


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="encode these very pictures"):
        fit(Latent(torch.zeros(1, 4, 2, 2)), Image(torch.zeros(1, 16, 24, 3)))
