"""A model that answers at once, and by formula: what sampling makes of it can be computed elsewhere too."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE, SD15_UNET
from diffusion.model import Model
from diffusion.networks.attachments import Hooks
from diffusion.networks.attention import Prompt
from diffusion.placement import Placement
from diffusion.types import Cond, Conditioning, Latent
from nodes import REGISTRY

PROMPTS = {"positive": 0.9, "negative": -0.6, "empty": 0.1, "middle": 0.4}


def unet(x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
    """Mixes neighbours, and differs from place to place, prompt to prompt, and timestep to timestep."""
    prompt = context[:, :1, :1, None]  # (N, 1, 1, 1)
    wave = torch.sin(torch.arange(x[0].numel()) * 0.7).reshape(x.shape[1:])
    mixed = torch.tanh(0.6 * x + 0.3 * torch.roll(x, 1, -1) + prompt * wave)
    return mixed * (1 + 0.2 * prompt) + 0.1 * timesteps.reshape(-1, 1, 1, 1) / 1000


@dataclass
class ToyRuntime:
    """Stands for a Runtime: its network is the function above. asked: how many prompts each call had."""

    placement: Placement = field(default_factory=Placement)
    asked: list[int] = field(default_factory=list)

    def unet(self, model: Model) -> Any:
        return ToyUNet(self.asked)


@dataclass
class ToyUNet:
    """Called as a UNet is: x [B, C, h, w] stands for every prompt of [n * B, 77, 1]."""

    asked: list[int]

    def read(self, context: Tensor) -> Prompt:
        return Prompt(context)

    def __call__(self, x: Tensor, timestep: Tensor, prompt: Prompt, hooks: Hooks) -> Tensor:
        rows = len(prompt.context)
        self.asked.append(rows)
        return unet(x.repeat(rows // len(x), 1, 1, 1), timestep, prompt.context)


def toy_model() -> Model:
    return Model({}, replace(SD15_UNET, context_dim=1), cast(Any, ToyRuntime()))


def prompt(name: str) -> Conditioning:
    return Conditioning((Cond(torch.full((1, 77, 1), PROMPTS[name])),))


def gaussian(batch: int, seed: int) -> Tensor:
    return torch.randn(batch, 4, 6, 5, generator=torch.Generator().manual_seed(seed))


def toy_latent(batch: int = 1) -> Latent:
    return Latent(gaussian(batch, 4) * 0.5 / LATENT_SCALE)


def call(name: str, **inputs: Any) -> Any:
    """The result of a node, by its class id; of one output, that output. "@positive" stands for that prompt."""
    given = {
        key: prompt(value[1:]) if isinstance(value, str) and value.startswith("@") else value
        for key, value in inputs.items()
    }
    spec = REGISTRY[name]
    result = spec.function(**given)
    return result[0] if spec.named and len(spec.outputs) == 1 else result
