"""Keys of diffusers' UNet and VAE against the original's: every one, at the full size and at others."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion.checkpoints.diffusers_layout import unet_from_diffusers, vae_from_diffusers
from diffusion.config import SD15_UNET, SD15_VAE, UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.types import Weights
from tests.diffusion.checkpoint_samples import UNET, VAE
from tests.diffusion.reference import unet_to_diffusers, vae_to_diffusers

SD15_KEYS = Path(__file__).parents[1] / "data" / "sd15_keys.json"


@cache
def their_unet(config: UNetConfig) -> dict[str, Tensor]:
    """diffusers' own keys and shapes for a UNet of this size, without numbers."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        model: Any = UNet2DConditionModel(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            down_block_types=tuple(
                "CrossAttnDownBlock2D" if on else "DownBlock2D" for on in config.attention
            ),
            up_block_types=tuple(
                "CrossAttnUpBlock2D" if on else "UpBlock2D" for on in config.attention[::-1]
            ),
            block_out_channels=config.channels,
            layers_per_block=config.blocks,
            cross_attention_dim=config.context_dim,
            attention_head_dim=config.num_heads,
            norm_num_groups=config.norm_groups,
        )
    return dict(model.state_dict())


@cache
def their_vae(config: VAEConfig) -> dict[str, Tensor]:
    """diffusers' own keys and shapes for an autoencoder of this size, without numbers."""
    from diffusers import AutoencoderKL

    levels = len(config.channels)
    with torch.device("meta"):
        model: Any = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=config.channels,
            layers_per_block=config.blocks,
            norm_num_groups=config.norm_groups,
        )
    return dict(model.state_dict())


def squeezed(shape: torch.Size) -> tuple[int, ...]:
    """A shape in which a matrix and its 1x1 kernel are the same."""
    return tuple(shape[:2]) if shape[2:] == (1, 1) else tuple(shape)


def published_shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the released Stable Diffusion 1.5."""
    return {
        key.removeprefix(prefix): squeezed(torch.Size(shape))
        for key, shape in json.loads(SD15_KEYS.read_text())
        if key.startswith(prefix)
    }


def test_every_key_of_the_full_unet_is_converted() -> None:
    converted = {
        key: squeezed(tensor.shape) for key, tensor in unet_from_diffusers(their_unet(SD15_UNET)).items()
    }
    assert converted == published_shapes("model.diffusion_model.")


def test_every_key_of_the_full_vae_is_converted() -> None:
    converted = {
        key: squeezed(tensor.shape) for key, tensor in vae_from_diffusers(their_vae(SD15_VAE)).items()
    }
    assert converted == published_shapes("first_stage_model.")


def numbered(network: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Weights of full shape that take no space; each repeats a number of its own."""
    with torch.device("meta"):
        state = network().state_dict()
    return {
        key: torch.tensor(float(number)).expand(tensor.shape)
        for number, (key, tensor) in enumerate(state.items())
    }


def assert_same_numbers(found: Weights, expected: Weights) -> None:
    assert {key: tensor.flatten()[0].item() for key, tensor in found.items()} == {
        key: tensor.flatten()[0].item() for key, tensor in expected.items()
    }


def test_the_full_unet_comes_back_from_diffusers_own_converter() -> None:
    weights = numbered(lambda: UNet(SD15_UNET))
    assert_same_numbers(unet_from_diffusers(unet_to_diffusers(weights, SD15_UNET)), weights)


def test_the_full_vae_comes_back_from_diffusers_own_converter() -> None:
    weights = numbered(lambda: Autoencoder(SD15_VAE))
    assert_same_numbers(vae_from_diffusers(vae_to_diffusers(weights, SD15_VAE)), weights)


@pytest.mark.parametrize(
    "config",
    [
        UNET,
        UNetConfig(channels=(32, 64), attention=(True, True), blocks=3, context_dim=8),
        UNetConfig(channels=(32, 32, 64), attention=(False, True, False), blocks=2, context_dim=8),
        UNetConfig(channels=(32, 32, 32, 32, 32), attention=(True,) * 4 + (False,), blocks=1, context_dim=8),
    ],
)
def test_unets_of_other_sizes_are_converted(config: UNetConfig) -> None:
    with torch.device("meta"):
        ours = UNet(config).state_dict()
    converted = unet_from_diffusers(their_unet(config))
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in ours.items()
    }


@pytest.mark.parametrize(
    "config", [VAE, VAEConfig(channels=(32, 64), blocks=3), VAEConfig(channels=(32, 32, 64), blocks=1)]
)
def test_autoencoders_of_other_sizes_are_converted(config: VAEConfig) -> None:
    with torch.device("meta"):
        ours = Autoencoder(config).state_dict()
    converted = vae_from_diffusers(their_vae(config))
    assert {key: squeezed(tensor.shape) for key, tensor in converted.items()} == {
        key: squeezed(tensor.shape) for key, tensor in ours.items()
    }
