"""Small random ControlNets and adapters, the same ones by diffusers, and a run of them by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE, AdapterConfig, ControlNetConfig, UNetConfig
from diffusion.control.model import ControlModel, network_kind
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.runtime import Runtime
from diffusion.sampling.noise import initial_noise
from diffusion.sampling.schedule import sampling_sigmas, stable_diffusion_schedule
from diffusion.types import Cond, Conditioning, Image, Latent, Weights
from tests.diffusion.reference import diffusers_unet, load, random_weights

UNET = UNetConfig(
    channels=(32, 64, 64),
    attention=(True, True, False),
    blocks=2,
    context_dim=24,
    num_heads=4,
    norm_groups=16,
)
NET = ControlNetConfig(UNET)
FULL = AdapterConfig(channels=UNET.channels)
LIGHT = AdapterConfig(channels=UNET.channels, light=True, blocks=3)
RUNTIME = Runtime()
SCHEDULE = stable_diffusion_schedule()
STEPS, CFG_SCALE, SEED = 4, 3.0, 5


@cache
def weights_of(config: ControlNetConfig | AdapterConfig, seed: int = 2) -> Weights:
    """Random weights under canonical keys, those of what reaches the UNet small enough to lead it and not drown it."""
    weights = random_weights(lambda: network_kind(config)(config), seed)  # type: ignore[arg-type]
    faint = ("zero_convs.", "middle_block_out.")
    return {key: tensor * 0.3 if key.startswith(faint) else tensor for key, tensor in weights.items()}


@cache
def control_model(
    config: ControlNetConfig | AdapterConfig = NET, seed: int = 2, *, pooled: bool = False
) -> ControlModel:
    return ControlModel(weights_of(config, seed), config, pooled)


@cache
def model() -> Model:
    return Model(random_weights(lambda: UNet(UNET), 1), UNET, RUNTIME)


def controlnet_to_diffusers(weights: Weights, blocks: int) -> dict[str, Tensor]:
    """Under diffusers' names, by its own converter."""
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    return dict(convert_controlnet_checkpoint(dict(weights), {"layers_per_block": blocks}))


@cache
def diffusers_controlnet(config: ControlNetConfig = NET, seed: int = 2, *, pooled: bool = False) -> Any:
    from diffusers import ControlNetModel

    unet = config.unet

    def make() -> Any:
        return ControlNetModel(
            conditioning_channels=config.hint_channels,
            down_block_types=tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in unet.attention),
            block_out_channels=unet.channels,
            layers_per_block=unet.blocks,
            cross_attention_dim=unet.context_dim,
            attention_head_dim=unet.num_heads,
            norm_num_groups=unet.norm_groups,
            conditioning_embedding_out_channels=config.hint_widths,
            global_pool_conditions=pooled,
        )

    return load(make, controlnet_to_diffusers(weights_of(config, seed), unet.blocks))


def adapter_to_diffusers(weights: Weights, config: AdapterConfig) -> dict[str, Tensor]:
    """Under diffusers' names."""

    def name(key: str) -> str:
        if match := re.fullmatch(r"body\.(\d+)\.body\.(.+)", key):
            return f"adapter.body.{match[1]}.resnets.{match[2]}"
        if config.light or not (match := re.fullmatch(r"body\.(\d+)\.(.+)", key)):
            return f"adapter.{key}"
        level, block = divmod(int(match[1]), config.blocks)
        inner = match[2] if match[2].startswith("in_conv.") else f"resnets.{block}.{match[2]}"
        return f"adapter.body.{level}.{inner}"

    return {name(key): tensor for key, tensor in weights.items()}


@cache
def diffusers_adapter(config: AdapterConfig, seed: int = 2) -> Any:
    from diffusers import T2IAdapter

    def make() -> Any:
        return T2IAdapter(
            in_channels=config.hint_channels,
            # diffusers' light adapter repeats its last width by itself.
            channels=list(config.channels[:-1] if config.light else config.channels),
            num_res_blocks=config.blocks,
            adapter_type="light_adapter" if config.light else "full_adapter",
        )

    return load(make, adapter_to_diffusers(weights_of(config, seed), config))


def diffusers_network(config: ControlNetConfig | AdapterConfig, seed: int = 2) -> Any:
    """Either kind."""
    if isinstance(config, ControlNetConfig):
        return diffusers_controlnet(config, seed)
    return diffusers_adapter(config, seed)


@cache
def _diffusers_unet() -> Any:
    return diffusers_unet(UNET, model().weights)


@dataclass(frozen=True, eq=False)
class Led:
    """A control by diffusers. active: at which noise levels."""

    network: Any
    hint: Image
    strength: float = 1.0
    active: Callable[[float], bool] = lambda sigma: True

    def added(self, unit: Tensor, timestep: Tensor, context: Tensor) -> Mapping[str, list[Tensor]]:
        """By where it goes: down (and last the middle), or inner."""
        picture = self.hint.permute(0, 3, 1, 2)
        picture = picture.expand(len(unit), -1, -1, -1) if len(picture) == 1 else picture
        if hasattr(self.network, "adapter"):
            return {"inner": [part * self.strength for part in self.network(picture)]}
        down, middle = self.network(
            unit, timestep, context, picture, conditioning_scale=self.strength, return_dict=False
        )
        return {"down": [*down, middle]}


@torch.no_grad()
def predicted(x: Tensor, sigma: float, prompt: Conditioning, led: Sequence[Led]) -> Tensor:
    """x0 by diffusers' networks alone, from x [B, 4, h, w]."""
    unit, timestep = x / (sigma**2 + 1) ** 0.5, torch.tensor([float(SCHEDULE.timestep(sigma))])
    context = prompt.entries[0].embedding.expand(len(x), -1, -1)
    totals: dict[str, list[Tensor]] = {}
    for each in led:
        if each.active(sigma):
            for where, parts in each.added(unit, timestep, context).items():
                before = totals.get(where, [torch.zeros(())] * len(parts))
                totals[where] = [a + b for a, b in zip(before, parts, strict=True)]
    options: dict[str, Any] = {}
    if "down" in totals:
        *down, middle = totals["down"]
        options |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    if "inner" in totals:
        options["down_intrablock_additional_residuals"] = totals["inner"]
    noise = _diffusers_unet()(unit, timestep, encoder_hidden_states=context, **options).sample
    return x - noise * sigma


def sampled(
    latent: Latent, prompts: tuple[Conditioning, Conditioning], led: tuple[Sequence[Led], Sequence[Led]]
) -> Tensor:
    """Euler's method with classifier-free guidance, written out; what leads the positive and the negative prompt."""
    sigmas = sampling_sigmas(SCHEDULE, "normal", steps=STEPS, denoise=1.0, discard_penultimate=False).tolist()
    start = (1 + sigmas[0] ** 2) ** 0.5
    x = latent.samples * LATENT_SCALE + initial_noise(latent.samples, SEED, None) * start
    for sigma, after in pairwise(sigmas):
        positive, negative = (
            predicted(x, sigma, prompt, some) for prompt, some in zip(prompts, led, strict=True)
        )
        denoised = negative + CFG_SCALE * (positive - negative)
        x = x + (x - denoised) / sigma * (after - sigma)
    return x / LATENT_SCALE


def prompt(seed: int, tokens: int = 11) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    return Conditioning((Cond(torch.randn(1, tokens, UNET.context_dim, generator=generator)),))


def hint(seed: int = 0, *, batch: int = 1, size: tuple[int, int] = (48, 80), channels: int = 3) -> Image:
    """Random pictures of the size that `latent` stands for."""
    return Image(torch.rand(batch, *size, channels, generator=torch.Generator().manual_seed(seed)))


def latent(batch: int = 1) -> Latent:
    return Latent(torch.randn(batch, 4, 6, 10, generator=torch.Generator().manual_seed(8)))
