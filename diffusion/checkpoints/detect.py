"""Reads a network's config off its weights: widths, levels and depths from shapes, the rest from stated facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion.checkpoints.facts import Facts
from diffusion.config import LATENT_CHANNELS, LATENT_DOWNSCALE, TextConfig, UNetConfig, VAEConfig
from diffusion.files.mapped_file import CheckpointError
from diffusion.types import Weights

UNET_INPUTS = (LATENT_CHANNELS, 2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS + 1)
"""A latent alone, one with that of a picture to change, or for inpainting one with a mask and the masked picture's."""
HEAD_WIDTH = 64
"""Channels per attention head in every CLIP text encoder."""
CLIP_ACTIVATIONS = ("quick_gelu", "gelu")
COMPLETE = "Use a complete Stable Diffusion 1.x file."


def unet_config(path: Path, weights: Weights, facts: Facts, *, prefix: str = "") -> UNetConfig:
    """The config of a UNet with canonical keys. Raises CheckpointError, naming the key at fault as `prefix` + key."""
    shapes = Shapes(path, "UNet", prefix, weights)
    in_channels = shapes.of("input_blocks.0.0.weight", axes=4)[1]
    out_channels = shapes.of("out.2.weight", axes=4)[0]
    if in_channels not in UNET_INPUTS or out_channels != LATENT_CHANNELS:
        raise CheckpointError(
            path,
            f"its UNet takes {in_channels} channels and gives {out_channels}{_known_input(in_channels)}",
            "Weft runs Stable Diffusion 1.x models of 4 channels, of 8 to change pictures, and of 9 for inpainting.",
        )
    levels = unet_levels(shapes)
    return UNetConfig(
        in_channels=in_channels,
        out_channels=out_channels,
        channels=tuple(level.channels for level in levels),
        attention=tuple(level.attention for level in levels),
        blocks=levels[0].blocks,
        context_dim=shapes.of("middle_block.1.transformer_blocks.0.attn2.to_k.weight", axes=2)[1],
        num_heads=facts.num_heads,
        norm_groups=facts.unet_groups,
    )


def vae_config(path: Path, weights: Weights, facts: Facts, *, prefix: str = "") -> VAEConfig:
    """The config of an autoencoder with canonical keys. Raises as `unet_config` does."""
    shapes = Shapes(path, "VAE", prefix, weights)
    latent_channels = shapes.of("decoder.conv_in.weight", axes=4)[1]
    if latent_channels != LATENT_CHANNELS:
        raise CheckpointError(
            path,
            f"its VAE makes latents of {latent_channels} channels, as those of SD 3 and Flux (16) or others do",
            f"Use a VAE for Stable Diffusion 1.x, whose latents have {LATENT_CHANNELS}.",
        )
    levels = shapes.children("encoder.down.")
    blocks = {level: len(shapes.children(f"encoder.down.{level}.block.")) for level in levels}
    shapes.same("residual blocks per level of the encoder", list(blocks.values()))
    if 1 << (len(levels) - 1) != LATENT_DOWNSCALE:
        raise CheckpointError(
            path,
            f"its VAE has {len(levels)} levels, so that its latents are not {LATENT_DOWNSCALE} times smaller",
            "Use a VAE for Stable Diffusion 1.x.",
        )
    return VAEConfig(
        channels=tuple(
            shapes.of(f"encoder.down.{level}.block.0.conv2.weight", axes=4)[0] for level in levels
        ),
        blocks=blocks[0],
        latent_channels=latent_channels,
        norm_groups=facts.vae_groups,
    )


def text_config(path: Path, weights: Weights, facts: Facts, *, prefix: str = "") -> TextConfig:
    """The config of a CLIP text encoder with canonical keys. Raises as `unet_config` does."""
    shapes = Shapes(path, "text encoder", prefix, weights)
    vocab_size, width = shapes.of("text_model.embeddings.token_embedding.weight", axes=2)
    num_heads = facts.text_heads or max(1, width // HEAD_WIDTH)
    if width % num_heads or facts.activation not in CLIP_ACTIVATIONS:
        raise CheckpointError(
            path,
            f"its text encoder of width {width} is said to have {num_heads} heads and {facts.activation}",
            f"Heads must divide the width, and the activation be one of {', '.join(CLIP_ACTIVATIONS)}.",
        )
    return TextConfig(
        vocab_size=vocab_size,
        width=width,
        layers=len(shapes.children("text_model.encoder.layers.")),
        num_heads=num_heads,
        hidden=shapes.of("text_model.encoder.layers.0.mlp.fc1.weight", axes=2)[0],
        positions=shapes.of("text_model.embeddings.position_embedding.weight", axes=2)[0],
        activation=facts.activation,
    )


@dataclass(frozen=True)
class Level:
    """A resolution level of a UNet; blocks: its residual blocks on the way down."""

    channels: int
    attention: bool
    blocks: int


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of one network's weights, with errors that say whose."""

    path: Path
    part: str
    prefix: str
    weights: Weights

    def of(self, key: str, *, axes: int) -> tuple[int, ...]:
        """The shape of `key`, which must be there and have `axes` axes."""
        tensor = self.weights.get(key)
        if tensor is None:
            raise CheckpointError(self.path, f"its {self.part} lacks the key {self.prefix}{key}", COMPLETE)
        if tensor.ndim != axes or 0 in tensor.shape:
            raise CheckpointError(
                self.path,
                f"in its {self.part}, {self.prefix}{key} has the shape {list(tensor.shape)}, not one of {axes} axes",
                COMPLETE,
            )
        return tuple(tensor.shape)

    def children(self, prefix: str) -> range:
        """The numbers that follow `prefix` in keys, 0 to the last; none of them may be missing."""
        found = {key.removeprefix(prefix).partition(".")[0] for key in self.weights if key.startswith(prefix)}
        numbers = range(len(found))
        if found != {str(number) for number in numbers} or not found:
            gap = next(number for number in range(len(found) + 1) if str(number) not in found)
            raise CheckpointError(
                self.path,
                f"its {self.part} lacks every key that begins with {self.prefix}{prefix}{gap}.",
                COMPLETE,
            )
        return numbers

    def same(self, what: str, numbers: Sequence[int]) -> None:
        if len(set(numbers)) > 1:
            raise CheckpointError(
                self.path,
                f"its {self.part} has unequal numbers of {what}: {', '.join(map(str, numbers))}",
                "Weft runs models of the Stable Diffusion 1.x architecture; this one differs or is incomplete.",
            )


def unet_levels(shapes: Shapes) -> list[Level]:
    """The levels on the way down. Stage 0 takes the latent in; each level but the last ends in a downsampler."""
    levels: list[list[int]] = [[]]
    for stage in shapes.children("input_blocks.")[1:]:
        if any(key.startswith(f"input_blocks.{stage}.0.op.") for key in shapes.weights):
            levels.append([])
        else:
            levels[-1].append(stage)
    shapes.same("residual blocks per level", [len(stages) for stages in levels])
    if not levels[0]:
        raise CheckpointError(shapes.path, f"its {shapes.part} has no residual blocks", COMPLETE)
    return [_unet_level(shapes, stages) for stages in levels]


def _unet_level(shapes: Shapes, stages: Sequence[int]) -> Level:
    attention = any(key.startswith(f"input_blocks.{stages[0]}.1.") for key in shapes.weights)
    channels = shapes.of(f"input_blocks.{stages[0]}.0.out_layers.3.weight", axes=4)[0]
    return Level(channels, attention, len(stages))


def _known_input(in_channels: int) -> str:
    known = {5: "a depth model does", 7: "an upscaling model does"}
    return f", as {known[in_channels]}" if in_channels in known else ""
