"""Turns the keys of diffusers' UNet and VAE into canonical ones; how many levels and blocks there are, keys tell."""

from torch import Tensor

from diffusion.checkpoints.canonical import renamed
from diffusion.checkpoints.diffusers_names import unet_modules
from diffusion.checkpoints.diffusers_vae_names import vae_modules
from diffusion.config import UNetConfig
from diffusion.types import Weights


def is_diffusers_vae(weights: Weights) -> bool:
    """Whether an autoencoder's keys are diffusers' and not the original's."""
    return any(key.startswith(("encoder.down_blocks.", "decoder.up_blocks.")) for key in weights)


def unet_from_diffusers(weights: Weights) -> dict[str, Tensor]:
    """The UNet's weights under canonical keys. Keys that Stable Diffusion 1.x does not have stay as they are."""
    levels = _count(weights, "down_blocks.")
    structure = UNetConfig(
        channels=(1,) * levels,  # names do not depend on widths
        attention=tuple(bool(_count(weights, f"down_blocks.{level}.attentions.")) for level in range(levels)),
        blocks=_count(weights, "down_blocks.0.resnets."),
    )
    return renamed(weights, unet_modules(structure))


def vae_from_diffusers(weights: Weights) -> dict[str, Tensor]:
    """The autoencoder's weights under canonical keys. Keys that it does not have stay as they are."""
    levels = _count(weights, "encoder.down_blocks.")
    blocks = _count(weights, "encoder.down_blocks.0.resnets.")
    return renamed(weights, vae_modules(levels, blocks))


def _count(weights: Weights, prefix: str) -> int:
    """How many different names follow `prefix` in the keys."""
    return len({key.removeprefix(prefix).partition(".")[0] for key in weights if key.startswith(prefix)})
