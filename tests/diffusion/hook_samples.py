"""A small model, LoRAs and prompts for hooks, drawn by seeds: whoever computes elsewhere can draw the same."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.config import UNetConfig
from diffusion.lora.read import Lora, read_lora
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.types import Cond, Conditioning, Latent
from tests.diffusion.reference import random_weights

UNET = UNetConfig(
    channels=(32, 64), attention=(True, False), blocks=1, context_dim=48, num_heads=4, norm_groups=32
)
_RANK = 4
PROMPTS = ("positive", "negative", "other")


def model(seed: int = 0) -> Model:
    """A small UNet with random weights and a runtime of its own."""
    return Model(random_weights(lambda: UNet(UNET), seed), UNET, Runtime(Placement(pack=False)))


def lora_tensors(seed: int) -> dict[str, Tensor]:
    """Factors for every linear layer and convolution below the input, by the names that Weft and others know."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for key, weight in model().weights.items():
        if weight.ndim > 1 and "blocks" in key:
            rows, columns, *kernel = weight.shape
            head = f"diffusion_model.{key.removesuffix('.weight')}"
            down = torch.randn(_RANK, columns, *kernel, generator=generator) / weight[0].numel() ** 0.5
            up = torch.randn(rows, _RANK, *(1 for _ in kernel), generator=generator)
            tensors |= {f"{head}.lora_down.weight": down * 0.25, f"{head}.lora_up.weight": up}
    return tensors


def lora(folder: Path, seed: int) -> Lora:
    """The LoRA of this seed, as it is read from a file in `folder`."""
    path = folder / f"lora-{seed}.safetensors"
    save_file(lora_tensors(seed), path)
    return read_lora(path)


def embedding(name: str) -> Tensor:
    """[1, 77, 48]."""
    generator = torch.Generator().manual_seed(100 + PROMPTS.index(name))
    return torch.randn(1, 77, UNET.context_dim, generator=generator)


def prompt(name: str) -> Conditioning:
    return Conditioning((Cond(embedding(name)),))


def half_mask() -> Tensor:
    """[1, 8, 8]: the left half."""
    mask = torch.zeros(1, 8, 8)
    mask[..., :4] = 1
    return mask


def empty() -> Latent:
    return Latent(torch.zeros(1, 4, 8, 8))
