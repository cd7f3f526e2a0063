"""Upscale models: read from a file, and at work on a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from diffusion.checkpoints.canonical import conformed
from diffusion.files.weight_files import read_weights
from diffusion.memory.activations import upscaler_bytes
from diffusion.memory.residents import Way
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.networks.upscaler.recognise import UpscalerConfig, recognise
from diffusion.networks.upscaler.rrdb import RRDBNet
from diffusion.runtime import Runtime
from diffusion.tiles import Tiling, in_tiles
from diffusion.types import Weights

_FAMILY = "the ESRGAN upscale models"
_SIDES = (256, 128, 64, 32)
"""Tiles to fall back on, in pixels, when memory is short."""
_OVERLAP = 32
"""By how many they overlap, half of the tile at most: enough to hide where they meet."""


@dataclass(frozen=True, eq=False)
class UpscaleModel:
    """A network that enlarges pictures, to be: its weights, config, and the runtime that makes it when it is needed."""

    weights: Weights
    config: UpscalerConfig
    runtime: Runtime
    cache_nbytes: ClassVar[int] = 0


def load_upscaler(path: Path, runtime: Runtime) -> UpscaleModel:
    """Read an upscale model of the ESRGAN family from .pth, .pt, .bin, .ckpt or .safetensors; no pickle code is run.

    Raises CheckpointError for another family, and for missing, extra or misshapen weights.
    """
    path = Path(path)
    file = read_weights(path)
    config, weights = recognise(path, file.tensors)
    conforming = runtime.loaded.weights(
        "upscaler",
        (file.mapped,),
        lambda: conformed(path, "network", weights, lambda: _network(config), family=_FAMILY),
    )
    return UpscaleModel(conforming, config, runtime)


def _network(config: UpscalerConfig) -> RRDBNet | CompactNet:
    return CompactNet(config) if isinstance(config, CompactConfig) else RRDBNet(config)


@torch.inference_mode()
def enlarge(model: UpscaleModel, picture: Tensor) -> Tensor:
    """A picture [1, C, h, w] float32, 0..1, as [1, C', scale * h, scale * w] float32, cut to 0..1.

    In tiles when there is too little memory for the whole. Raises ValueError when the model makes numbers that are
    none; NotEnoughMemory when not even small tiles can be enlarged.
    """
    network, device = model.runtime.upscaler(model), model.runtime.placement.device

    def compute(part: Tensor) -> Tensor:
        larger: Tensor = network(part.to(device))
        return larger.cpu()

    larger = model.runtime.attempt_maps(network, _ways(model, compute, picture))
    if not torch.isfinite(larger).all():
        raise ValueError(
            "The upscale model makes NaN or infinite numbers of this picture. It overflows in this precision, or is "
            "damaged: try --dtype fp32, or another model."
        )
    return larger.clamp(0, 1)


def _ways(model: UpscaleModel, compute: Callable[[Tensor], Tensor], picture: Tensor) -> list[Way[Tensor]]:
    """Whole, then in ever smaller tiles."""
    height, width = picture.shape[-2:]
    itemsize, scale = model.runtime.placement.vae_dtype.itemsize, model.config.scale

    def needs(side: int) -> int:
        return upscaler_bytes(
            model.config, height=min(side, height), width=min(side, width), itemsize=itemsize
        )

    longest = max(height, width)
    tilings = [Tiling(side, min(_OVERLAP, side // 2)) for side in _SIDES if side < longest]
    return [
        Way(needs(longest), partial(compute, picture)),
        *(
            Way(
                needs(tiling.side),
                partial(in_tiles, picture, compute, tiling, source_cell=1, result_cell=scale),
            )
            for tiling in tilings
        ),
    ]
