"""The same networks by other hands: diffusers' UNet and autoencoder, given our weights by its own converters."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from diffusion.config import UNetConfig, VAEConfig
from diffusion.types import Weights

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
Network = TypeVar("Network", bound=nn.Module)


def random_weights(make: Callable[[], nn.Module], seed: int = 0) -> dict[str, Tensor]:
    """Weights for the network that `make` builds, drawn so that signals keep their size. Makes no network."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in make().state_dict().items()}
    return {key: _draw(key, shape, generator) for key, shape in shapes.items()}


def _draw(key: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if len(shape) > 1:
        return torch.randn(shape, generator=generator).div_(shape[1:].numel() ** 0.5)
    return torch.randn(shape, generator=generator).mul_(0.1).add_(1.0 if key.endswith("weight") else 0.0)


def faint(weights: Weights) -> dict[str, Tensor]:
    """The same weights, all but the norms' scales 1000 times smaller: now the norms' epsilons decide the result."""
    return {
        key: weight * 1e-3 if weight.dim() > 1 or key.endswith("bias") else weight
        for key, weight in weights.items()
    }


def load(make: Callable[[], Network], weights: Weights) -> Network:
    """The network that `make` builds, around these very tensors, in eval mode."""
    with torch.device("meta"):
        network = make()
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval()


def relative_error(found: Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|, Euclidean, in float64."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    difference = found.double() - expected.double()
    return float(difference.norm() / expected.double().norm())


@cache
def _converters() -> Any:
    from diffusers.loaders import single_file_utils

    return single_file_utils


def unet_to_diffusers(weights: Weights, config: UNetConfig) -> dict[str, Tensor]:
    """Our UNet's tensors under diffusers' names."""
    prefixed = {UNET_PREFIX + key: tensor for key, tensor in weights.items()}
    converted: Mapping[str, Tensor] = _converters().convert_ldm_unet_checkpoint(
        prefixed, {"layers_per_block": config.blocks}
    )
    return dict(converted)


def vae_to_diffusers(weights: Weights, config: VAEConfig) -> dict[str, Tensor]:
    """Our autoencoder's tensors under diffusers' names; its 1x1 convolutions are linear layers there."""
    levels = ["level"] * len(config.channels)
    converted: Mapping[str, Tensor] = _converters().convert_ldm_vae_checkpoint(
        {VAE_PREFIX + key: tensor for key, tensor in weights.items()},
        {"down_block_types": levels, "up_block_types": levels},
    )
    return dict(converted)


def diffusers_unet(config: UNetConfig, weights: Weights) -> Any:
    """diffusers' UNet2DConditionModel of this size around these weights, in eval mode."""
    from diffusers import UNet2DConditionModel

    def make() -> Any:
        return UNet2DConditionModel(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            down_block_types=tuple(
                "CrossAttnDownBlock2D" if on else "DownBlock2D" for on in config.attention
            ),
            up_block_types=tuple(
                "CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(config.attention)
            ),
            block_out_channels=config.channels,
            layers_per_block=config.blocks,
            cross_attention_dim=config.context_dim,
            attention_head_dim=config.num_heads,  # diffusers' name for the number of heads
            norm_num_groups=config.norm_groups,
        )

    return load(make, unet_to_diffusers(weights, config))


def diffusers_vae(config: VAEConfig, weights: Weights) -> Any:
    """diffusers' AutoencoderKL of this size around these weights, in eval mode."""
    from diffusers import AutoencoderKL

    def make() -> Any:
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(config.channels),
            up_block_types=("UpDecoderBlock2D",) * len(config.channels),
            block_out_channels=config.channels,
            layers_per_block=config.blocks,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
        )

    return load(make, vae_to_diffusers(weights, config))
