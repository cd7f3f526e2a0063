"""The UNet of Stable Diffusion 1.x, of any size. Attribute names are the checkpoint's keys.

Where features attach: LoRA changes weights before they are loaded (diffusion/patches.py); all others stand at the
places of attachments.py, which `_Run` and TransformerBlock offer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from diffusion.config import UNetConfig
from diffusion.networks.attachments import NO_HOOKS, AroundInner, Hooks, Place
from diffusion.networks.attention import Prompt
from diffusion.networks.layers import Conv2d, Linear, NormSiLU
from diffusion.networks.unet_blocks import (
    Downsample,
    InputConv,
    ResBlock,
    Signals,
    SpatialTransformer,
    Stage,
    Upsample,
    for_all,
    timestep_embedding,
)


class UNet(nn.Module):
    """Predicts the noise in a latent (Rombach et al. 2022, section 3.3).

    Raises ValueError for a config whose channels cannot be split into its norm groups or heads.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        check_config(config)
        self.config = config
        first = config.channels[0]
        self.time_embed = time_network(config)
        self.input_blocks = nn.ModuleList(down_stages(config))
        self.middle_block = middle_stage(config)
        self.output_blocks = nn.ModuleList(_up(config))
        # The identity holds the place of the activation, which checkpoints count in their names.
        self.out = nn.Sequential(
            NormSiLU(config.norm_groups, first),
            nn.Identity(),
            Conv2d(first, config.out_channels, 3, padding=1),
        )

    @property
    def dtype(self) -> torch.dtype:
        """What this network computes in: the dtype of its weights."""
        return next(self.parameters()).dtype

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor | Prompt, hooks: Hooks = NO_HOOKS
    ) -> Tensor:
        """The noise in x [B, in_channels, h, w], any h and w, as [n * B, out_channels, h, w].

        timesteps: [B], or [1] for all, 0..999. context: [n * B, T, context_dim], any T, n prompts for every row of x;
        what comes before the first attention to them is computed once. Inputs are cast to the weights' dtype, in
        which the result comes too. Raises ValueError for inputs of another model's sizes.
        """
        prompt = context if isinstance(context, Prompt) else Prompt(context.to(self.dtype))
        self._check_inputs(x, timesteps, prompt.context)
        rows = len(prompt.context)
        emb = self.time_embed(timestep_embedding(timesteps, self.config.channels[0]).to(self.dtype))
        if len(emb) > 1:
            emb, x = for_all(emb, rows), for_all(x, rows)
        run = _Run(self, emb, prompt, hooks)
        h = run.below(0, (for_all(x, rows) if hooks else x).to(self.dtype), None)
        return self.out(for_all(h, rows))

    def read(self, context: Tensor) -> Prompt:
        """The prompt [B, T, context_dim] with what every layer makes of it, for many calls with the same one."""
        return prompt_for(self, context.to(self.dtype))

    def _check_inputs(self, x: Tensor, timesteps: Tensor, context: Tensor) -> None:
        if x.shape[1] != self.config.in_channels:
            raise ValueError(
                f"this UNet takes {self.config.in_channels} channels, but was given {list(x.shape)}: "
                "a latent of 4, and for an inpainting model 5 more for mask and masked picture"
            )
        if context.shape[-1] != self.config.context_dim:
            raise ValueError(
                f"this UNet takes prompts of width {self.config.context_dim}, but was given {list(context.shape)}: "
                "encode the prompt with the text encoder that belongs to this model"
            )
        if len(context) % len(x) or len(timesteps) not in (1, len(x)):
            raise ValueError(
                f"{len(context)} prompts and {len(timesteps)} timesteps do not go with {len(x)} latents: "
                "every latent takes the same number of prompts, and a timestep of its own or the one for all"
            )


@dataclass(frozen=True, eq=False)
class _Run:
    """One call of the UNet: what its stages are given."""

    unet: UNet
    emb: Tensor
    prompt: Prompt
    hooks: Hooks

    def below(self, level: int, x: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Input stage `level`, all that lies below it, and the output stage across, which must reach `size`."""
        stages = self.unet.input_blocks
        if level == len(stages):
            return self._stage(self.unet.middle_block, x, Place("middle", 0))
        skip = self._stage(stages[level], x, Place("input", level))
        # Rounding up on the way down makes odd sizes; the way up has to meet the skip that comes next.
        descend: Callable[[Tensor], Tensor] = partial(self.below, level + 1, size=_size(skip))
        for around in reversed(self.hooks.inner):
            descend = partial(_around_inner, around, descend, Place("input", level))
        place = Place("output", len(stages) - 1 - level)
        h, skip = descend(skip), for_all(skip, len(self.prompt.context))
        for join in self.hooks.join:
            h, skip = join(h, skip, place)
        joined = torch.cat([for_all(h, len(skip)), skip], dim=1)
        return self._stage(self.unet.output_blocks[place.index], joined, place, size)

    def _stage(
        self, stage: nn.Module, x: Tensor, place: Place, size: tuple[int, int] | None = None
    ) -> Tensor:
        h: Tensor = stage(x, Signals(self.emb, self.prompt, place, size, self.hooks))
        for after in self.hooks.after:
            h = after(h, place)
        return h


def _around_inner(
    around: AroundInner, descend: Callable[[Tensor], Tensor], place: Place, h: Tensor
) -> Tensor:
    return around(descend, h, place)


def prompt_for(network: nn.Module, context: Tensor) -> Prompt:
    """The prompt [B, T, context_dim] with what every layer of `network` that attends to prompts makes of it."""
    layers = [layer for name, layer in network.named_modules() if name.endswith(".attn2")]
    return Prompt(context, {layer: layer.keys_and_values(context) for layer in layers})


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def check_config(config: UNetConfig) -> None:
    """Raise ValueError for channels that cannot be split into the norm groups or heads."""
    if len(config.channels) != len(config.attention):
        raise ValueError(
            f"UNet config: {len(config.channels)} levels in channels {config.channels}, "
            f"but {len(config.attention)} in attention {config.attention}"
        )
    attended = [*zip(config.channels, config.attention, strict=True), (config.channels[-1], True)]
    for channels, attention in attended:
        if channels % config.norm_groups:
            raise ValueError(
                f"UNet config: {channels} channels do not split into {config.norm_groups} norm groups"
            )
        if attention and channels % config.num_heads:
            raise ValueError(f"UNet config: {channels} channels do not split into {config.num_heads} heads")


def _residual(config: UNetConfig, channels: int, out_channels: int) -> ResBlock:
    return ResBlock(channels, out_channels, emb_dim=4 * config.channels[0], norm_groups=config.norm_groups)


def _transformer(config: UNetConfig, channels: int) -> SpatialTransformer:
    return SpatialTransformer(
        channels, context_dim=config.context_dim, num_heads=config.num_heads, norm_groups=config.norm_groups
    )


def time_network(config: UNetConfig) -> nn.Sequential:
    """What makes the signal of a timestep of its embedding."""
    first, emb_dim = config.channels[0], 4 * config.channels[0]
    return nn.Sequential(Linear(first, emb_dim), nn.SiLU(), Linear(emb_dim, emb_dim))


def middle_stage(config: UNetConfig) -> Stage:
    """The stage between the way down and the way up."""
    width = config.channels[-1]
    return Stage(
        _residual(config, width, width), _transformer(config, width), _residual(config, width, width)
    )


def down_stages(config: UNetConfig) -> list[Stage]:
    """The stages from the input to the coarsest level, one skip connection each."""
    width = config.channels[0]
    stages = [Stage(InputConv(config.in_channels, width))]
    for level, (channels, attention) in enumerate(zip(config.channels, config.attention, strict=True)):
        for _ in range(config.blocks):
            stage = Stage(_residual(config, width, channels))
            if attention:
                stage.append(_transformer(config, channels))
            stages.append(stage)
            width = channels
        if level < len(config.channels) - 1:
            stages.append(Stage(Downsample(channels)))
    return stages


def skip_widths(config: UNetConfig) -> list[int]:
    """The channels that each of `down_stages` leaves."""
    widths = [config.channels[0]]
    for level, channels in enumerate(config.channels):
        downsample = level < len(config.channels) - 1
        widths += [channels] * (config.blocks + downsample)
    return widths


def _up(config: UNetConfig) -> list[Stage]:
    """The stages back to the finest level; each takes the last unused skip connection."""
    skips = skip_widths(config)
    width = config.channels[-1]
    stages = []
    for level in reversed(range(len(config.channels))):
        channels = config.channels[level]
        for block in range(config.blocks + 1):
            stage = Stage(_residual(config, width + skips.pop(), channels))
            if config.attention[level]:
                stage.append(_transformer(config, channels))
            if level > 0 and block == config.blocks:
                stage.append(Upsample(channels))
            stages.append(stage)
            width = channels
    return stages
