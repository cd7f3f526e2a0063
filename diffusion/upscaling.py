"""Upscale models: read from a file, and at work on a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from diffusion.checkpoints.canonical import conformed
from diffusion.files.weight_files import read_weights
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.networks.upscaler.recognise import UpscalerConfig, recognise
from diffusion.networks.upscaler.rrdb import RRDBNet
from diffusion.runtime import Runtime
from diffusion.types import Weights

_FAMILY = "the ESRGAN upscale models"


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
    config, weights = recognise(path, read_weights(path).tensors)
    conforming = conformed(path, "network", weights, lambda: _network(config), family=_FAMILY)
    return UpscaleModel(conforming, config, runtime)


def _network(config: UpscalerConfig) -> RRDBNet | CompactNet:
    return CompactNet(config) if isinstance(config, CompactConfig) else RRDBNet(config)


@torch.inference_mode()
def enlarge(model: UpscaleModel, picture: Tensor) -> Tensor:
    """A picture [1, C, h, w] float32, 0..1, as [1, C', scale * h, scale * w] float32, cut to 0..1.

    Raises ValueError when the model makes numbers that are none.
    """
    network = model.runtime.upscaler(model)
    larger: Tensor = network(picture.to(model.runtime.placement.device)).cpu()
    if not torch.isfinite(larger).all():
        raise ValueError(
            "The upscale model makes NaN or infinite numbers of this picture. It overflows in this precision, or is "
            "damaged: try --dtype fp32, or another model."
        )
    return larger.clamp(0, 1)
