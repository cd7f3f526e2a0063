"""The layouts in which ControlNets and T2I-Adapters are passed around, turned into the published files' keys."""

from __future__ import annotations

import re

from torch import Tensor

from diffusion.checkpoints.canonical import renamed
from diffusion.checkpoints.diffusers_layout import unet_from_diffusers
from diffusion.types import Weights

CONTROLNET_PREFIX = "control_model."
ADAPTER_PREFIX = "adapter."
_HINT = "controlnet_cond_embedding."
_RESNET = re.compile(r"body\.([0-9]{1,3})\.resnets\.([0-9]{1,3})\.(.+)")
_LEVEL = re.compile(r"body\.([0-9]{1,3})\.(.+)")
_NUMBER = re.compile(r"[0-9]{1,3}")


def controlnet_weights(weights: Weights) -> dict[str, Tensor] | None:
    """A ControlNet's weights under its canonical keys, bare; None when these are not a ControlNet's.

    Layouts: the published one (`control_model.`, which may stand beside a whole checkpoint, or without it), and
    diffusers'. Keys that a ControlNet does not have stay as they are.
    """
    if any(key.startswith(_HINT) for key in weights):
        return _from_diffusers(weights)
    inside = {
        key.removeprefix(CONTROLNET_PREFIX): tensor
        for key, tensor in weights.items()
        if key.startswith(CONTROLNET_PREFIX)
    }
    bare = inside or dict(weights)
    return bare if any(key.startswith("input_hint_block.") for key in bare) else None


def _from_diffusers(weights: Weights) -> dict[str, Tensor]:
    names = {"controlnet_mid_block": "middle_block_out.0", f"{_HINT}conv_in": "input_hint_block.0"}
    down, blocks = _numbers(weights, "controlnet_down_blocks."), _numbers(weights, f"{_HINT}blocks.")
    names |= {f"controlnet_down_blocks.{stage}": f"zero_convs.{stage}.0" for stage in down}
    # Between two convolutions stands an activation, which the original counts.
    names |= {f"{_HINT}blocks.{block}": f"input_hint_block.{2 * int(block) + 2}" for block in blocks}
    names[f"{_HINT}conv_out"] = f"input_hint_block.{2 * len(blocks) + 2}"
    return renamed(unet_from_diffusers(weights), names)


def _numbers(weights: Weights, prefix: str) -> set[str]:
    """The numbers that follow `prefix` in keys."""
    following = (key.removeprefix(prefix).partition(".")[0] for key in weights if key.startswith(prefix))
    return {each for each in following if _NUMBER.fullmatch(each)}


def adapter_weights(weights: Weights) -> dict[str, Tensor] | None:
    """A T2I-Adapter's weights under its canonical keys; None when these are not one's.

    Layouts: the published one, full or light, with or without `adapter.` before the keys, and diffusers'.
    """
    bare = {key.removeprefix(ADAPTER_PREFIX): tensor for key, tensor in weights.items()}
    light = "body.0.in_conv.weight" in bare and "body.0.out_conv.weight" in bare
    if not light and "conv_in.weight" not in bare:
        return None
    if any(_RESNET.fullmatch(key) for key in bare):
        return _adapter_from_diffusers(bare, light=light)
    return bare if light or "body.0.block1.weight" in bare else None


def _adapter_from_diffusers(weights: Weights, *, light: bool) -> dict[str, Tensor]:
    """diffusers nests the residual blocks of a full adapter by level, and calls those of a light one otherwise."""
    blocks = len({match[2] for match in map(_RESNET.fullmatch, weights) if match})

    def name(key: str) -> str:
        if match := _RESNET.fullmatch(key):
            level, block, rest = int(match[1]), int(match[2]), match[3]
            return f"body.{level}.body.{block}.{rest}" if light else f"body.{level * blocks + block}.{rest}"
        if (match := _LEVEL.fullmatch(key)) and not light:
            return f"body.{int(match[1]) * blocks}.{match[2]}"
        return key

    return {name(key): tensor for key, tensor in weights.items()}
