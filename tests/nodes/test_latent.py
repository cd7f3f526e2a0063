"""Latents: empty ones, to and from pictures, masks, and files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.model import Vae
from diffusion.runtime import Runtime
from diffusion.types import Image, Latent, Mask
from graph import Context, Folders
from nodes.latent import (
    empty_latent_image,
    load_latent,
    save_latent,
    set_latent_noise_mask,
    vae_decode,
    vae_encode,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def vae() -> Vae:
    vae = load_checkpoint(ROOT / "models" / "checkpoints" / "weft-tiny.safetensors", Runtime()).vae
    assert vae is not None
    return vae


def test_empty_latents_are_an_eighth_of_the_picture() -> None:
    latent = empty_latent_image(width=72, height=40, batch_size=3)
    assert torch.equal(latent.samples, torch.zeros(3, 4, 5, 9))


def test_a_picture_comes_back_through_the_autoencoder(vae: Vae) -> None:
    pixels = torch.full((2, 64, 64, 3), 0.97)
    pixels[0, 16:48, 16:48] = torch.tensor([0.15, 0.33, 0.88])
    decoded = vae_decode(samples=vae_encode(pixels=Image(pixels), vae=vae), vae=vae)
    assert decoded.shape == pixels.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert (decoded - pixels).abs().mean() < 0.03


def test_sizes_that_are_no_multiple_of_8_are_cropped_around_the_centre(vae: Vae) -> None:
    wide = torch.rand(1, 37, 45, 4)
    cropped = wide[:, 2:34, 2:42, :3]
    whole, part = vae_encode(pixels=Image(wide), vae=vae), vae_encode(pixels=Image(cropped), vae=vae)
    assert whole.samples.shape == (1, 4, 4, 5)
    assert torch.equal(whole.samples, part.samples)


def test_what_cannot_be_encoded_or_decoded_is_said(vae: Vae) -> None:
    with pytest.raises(ValueError, match="7x64 pixels is too small"):
        vae_encode(pixels=Image(torch.zeros(1, 64, 7, 3)), vae=vae)
    with pytest.raises(ValueError, match=r"\[1, 16, 4, 4\].*belongs to the latents"):
        vae_decode(samples=Latent(torch.zeros(1, 16, 4, 4)), vae=vae)


@pytest.mark.parametrize("shape", [(1, 16, 16, 1), (16, 16, 3), (0, 16, 16, 3), (1, 3, 16, 16)])
def test_pictures_of_another_shape_are_not_encoded(vae: Vae, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Pictures to encode have the shape"):
        vae_encode(pixels=Image(torch.zeros(shape)), vae=vae)


@pytest.mark.parametrize("shape", [(0, 4, 2, 2), (1, 4, 0, 2), (4, 2, 2)])
def test_empty_latents_are_not_decoded(vae: Vae, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="These latents have the shape"):
        vae_decode(samples=Latent(torch.zeros(shape)), vae=vae)


def test_numbers_that_are_none_end_here_and_not_in_a_black_picture(vae: Vae) -> None:
    with pytest.raises(ValueError, match="The latents hold NaN"):
        vae_decode(samples=Latent(torch.full((1, 4, 2, 2), float("nan"))), vae=vae)
    with pytest.raises(ValueError, match="The pictures to encode hold NaN"):
        vae_encode(pixels=Image(torch.full((1, 16, 16, 3), float("inf"))), vae=vae)
    with pytest.raises(ValueError, match="that the VAE makes of these pictures hold NaN"):
        vae_encode(pixels=Image(torch.full((1, 16, 16, 3), 3e38)), vae=vae)


@pytest.mark.parametrize("shape", [(0, 8, 8), (1, 0, 0), (8,)])
def test_an_empty_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="A mask has the shape"):
        set_latent_noise_mask(samples=Latent(torch.ones(1, 4, 8, 8)), mask=Mask(torch.ones(shape)))


def test_a_noise_mask_joins_the_latent() -> None:
    latent = set_latent_noise_mask(samples=Latent(torch.ones(1, 4, 8, 8)), mask=Mask(torch.rand(1, 64, 64)))
    assert latent.noise_mask is not None
    assert latent.noise_mask.shape == (1, 1, 64, 64)
    assert torch.equal(latent.samples, torch.ones(1, 4, 8, 8))


def test_an_empty_mask_is_said_not_silently_useless() -> None:
    with pytest.raises(ValueError, match=r"mask is empty.*LoadImageMask"):
        set_latent_noise_mask(samples=Latent(torch.ones(1, 4, 8, 8)), mask=Mask(torch.zeros(1, 64, 64)))


def test_latents_come_back_from_a_file(tmp_path: Path) -> None:
    ctx = Context(
        folders=Folders(models=(), output=tmp_path), workflow={"1": {"class_type": "X", "inputs": {}}}
    )
    samples = torch.randn(2, 4, 8, 8)
    shown = save_latent(samples=Latent(samples), filename_prefix="latents/a", ctx=ctx).ui["latents"]
    assert shown == [{"filename": "a_00001_.latent", "subfolder": "latents", "type": "output"}]
    assert torch.equal(load_latent(latent="latents/a_00001_.latent [output]", ctx=ctx).samples, samples)
    with safe_open(tmp_path / "latents" / "a_00001_.latent", "pt") as file:
        assert json.loads(file.metadata()["prompt"]) == ctx.workflow


def test_latents_of_the_older_kind_are_scaled_back(tmp_path: Path) -> None:
    save_file({"latent_tensor": torch.full((1, 4, 2, 2), 0.18215)}, tmp_path / "old.latent")
    ctx = Context(folders=Folders(models=(), input=tmp_path))
    assert torch.allclose(load_latent(latent="old.latent", ctx=ctx).samples, torch.ones(1, 4, 2, 2))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64])
def test_what_is_no_latent_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.latent").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.latent is no latent file"):
        load_latent(latent="x.latent", ctx=Context(folders=Folders(models=(), input=tmp_path)))
