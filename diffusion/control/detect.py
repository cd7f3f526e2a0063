"""Reads the config of a ControlNet or T2I-Adapter off its weights."""

from __future__ import annotations

import re
from pathlib import Path

from diffusion.checkpoints.detect import COMPLETE, Shapes, unet_levels
from diffusion.checkpoints.facts import Facts
from diffusion.config import LATENT_CHANNELS, LATENT_DOWNSCALE, AdapterConfig, ControlNetConfig, UNetConfig
from diffusion.files.mapped_file import CheckpointError
from diffusion.types import Weights

PICTURE_CHANNELS = (1, 3)
_CELL = LATENT_DOWNSCALE**2
_HINT_LAYER = re.compile(r"input_hint_block\.([0-9]{1,3})\.")
_KERNELS = (1, 3)
_FULL_BLOCKS = 2
"""Residual blocks a level of every full adapter; its keys do not tell levels apart."""


def controlnet_config(path: Path, weights: Weights, facts: Facts) -> ControlNetConfig:
    """The config of a ControlNet with canonical keys. Raises CheckpointError that names the key at fault."""
    shapes = Shapes(path, "ControlNet", "", weights)
    in_channels = shapes.of("input_blocks.0.0.weight", axes=4)[1]
    if in_channels != LATENT_CHANNELS:
        raise CheckpointError(
            path,
            f"it takes latents of {in_channels} channels, not of {LATENT_CHANNELS}",
            "Use a ControlNet for Stable Diffusion 1.x.",
        )
    levels = unet_levels(shapes)
    hint_channels, hint_widths = hint_sizes(path, weights)
    return ControlNetConfig(
        UNetConfig(
            in_channels=in_channels,
            channels=tuple(level.channels for level in levels),
            attention=tuple(level.attention for level in levels),
            blocks=levels[0].blocks,
            context_dim=shapes.of("middle_block.1.transformer_blocks.0.attn2.to_k.weight", axes=2)[1],
            num_heads=facts.num_heads,
            norm_groups=facts.unet_groups,
        ),
        hint_channels=hint_channels,
        hint_widths=hint_widths,
    )


def hint_sizes(path: Path, weights: Weights) -> tuple[int, tuple[int, ...]]:
    """The channels of the picture that a ControlNet reads, and the widths of what reads it."""
    shapes = Shapes(path, "ControlNet", "", weights)
    # Activations are counted in the keys: every other number has no weights.
    numbers = [match[1] for match in map(_HINT_LAYER.match, weights) if match]
    last = max(map(int, numbers), default=0)
    widths = [
        shapes.of(f"input_hint_block.{number}.weight", axes=4)[0] for number in range(0, max(last, 1), 4)
    ]
    return shapes.of("input_hint_block.0.weight", axes=4)[1], tuple(widths)


def adapter_config(path: Path, weights: Weights) -> AdapterConfig:
    """The config of a T2I-Adapter with canonical keys. Raises CheckpointError, also for those of SDXL."""
    shapes = Shapes(path, "T2I-Adapter", "", weights)
    light = "conv_in.weight" not in weights
    first = "body.0.in_conv.weight" if light else "conv_in.weight"
    cells = shapes.of(first, axes=4)[1]
    if cells not in [channels * _CELL for channels in PICTURE_CHANNELS]:
        known = (
            ", as those for SDXL do"
            if cells in [4 * channels * _CELL for channels in PICTURE_CHANNELS]
            else ""
        )
        raise CheckpointError(
            path,
            f"it takes {cells} numbers for each of the latent{known}, and {_CELL} or {3 * _CELL} are 8x8 pixels",
            "Use a T2I-Adapter for Stable Diffusion 1.x.",
        )
    body = shapes.children("body.")
    if light:
        return AdapterConfig(
            channels=tuple(shapes.of(f"body.{level}.out_conv.weight", axes=4)[0] for level in body),
            hint_channels=cells // _CELL,
            light=True,
            blocks=len(shapes.children("body.0.body.")),
        )
    if len(body) % _FULL_BLOCKS:
        raise CheckpointError(path, f"its number of residual blocks is odd, {len(body)}", COMPLETE)
    kernel = shapes.of("body.0.block2.weight", axes=4)[2]
    if kernel not in _KERNELS:
        raise CheckpointError(path, f"its convolutions are of size {kernel}, not 1 or 3", COMPLETE)
    return AdapterConfig(
        channels=tuple(shapes.of(f"body.{block}.block1.weight", axes=4)[0] for block in body[::_FULL_BLOCKS]),
        hint_channels=cells // _CELL,
        blocks=_FULL_BLOCKS,
        kernel=kernel,
        strided=any(key.endswith("down_opt.op.weight") for key in weights),
    )
