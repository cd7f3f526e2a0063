"""Control-LoRAs: ControlNets that are kept as what they differ in from a model's UNet, in low rank."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from diffusion.checkpoints.canonical import conformed
from diffusion.config import LATENT_CHANNELS, ControlNetConfig
from diffusion.control.detect import hint_sizes
from diffusion.control.model import ControlModel
from diffusion.files.in_files import InFiles
from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import WeightFile
from diffusion.model import Model
from diffusion.networks.controlnet import ControlNet

MARK = "lora_controlnet"
"""The key that tells such a file."""
_UP, _DOWN = ".up", ".down"
_REMEDY = "Fetch the file again, or give the model that it was made for."


@dataclass(frozen=True, eq=False)
class LowRankChange:
    """A patch: every weight plus the product of two factors, [O, r] and [r, ...], by its key.

    source: equal for two readings of the same unchanged file.
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]
    source: Hashable

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(self.factors)

    @property
    def identity(self) -> Hashable:
        return (type(self).__name__, self.source)

    def apply(self, key: str, weight: Tensor) -> Tensor:
        up, down = (factor.to(weight).flatten(1) for factor in self.factors[key])
        return weight + torch.mm(up, down).reshape(weight.shape)


def from_low_rank(file: WeightFile, model: Model) -> ControlModel:
    """The ControlNet that a Control-LoRA makes of a model: what the file lacks is the model's own.

    Raises CheckpointError when the two do not go together.
    """
    tensors = {key: tensor for key, tensor in file.tensors.items() if key != MARK}
    factors = {
        f"{key.removesuffix(_UP)}.weight": (tensor, tensors.get(f"{key.removesuffix(_UP)}{_DOWN}"))
        for key, tensor in tensors.items()
        if key.endswith(_UP)
    }
    given = {key: tensor for key, tensor in tensors.items() if not key.endswith((_UP, _DOWN))}
    unet = replace(model.config, in_channels=LATENT_CHANNELS)
    channels, widths = hint_sizes(file.path, given)
    config = ControlNetConfig(unet, channels, widths)
    own = {
        key: tensor for key, tensor in model.weights.items() if not key.startswith(("output_blocks.", "out."))
    }
    weights = conformed(file.path, "Control-LoRA", own | given, lambda: ControlNet(config))
    whole = {key: _fitting(file, key, pair, weights) for key, pair in factors.items()}
    files = model.weights.files if isinstance(model.weights, InFiles) else ()
    change = LowRankChange(InFiles(whole, (file.mapped,)), file.mapped.stamp)
    return ControlModel(InFiles(weights, (file.mapped, *files)), config, patches=(*model.patches, change))


def _fitting(
    file: WeightFile, key: str, pair: tuple[Tensor, Tensor | None], weights: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The factors of the weight `key`, checked."""
    (up, down), weight = pair, weights.get(key)
    if weight is None or down is None or min(up.ndim, down.ndim) < 2 or 0 in (*up.shape, *down.shape):
        raise CheckpointError(
            file.path, f"its factors of {key} are incomplete, or the model has no such weight", _REMEDY
        )
    product = (len(up), down[0].numel()) if up.flatten(1).shape[1] == len(down) else None
    if product != (len(weight), weight[0].numel()):
        raise CheckpointError(
            file.path,
            f"its factors of {key} are {list(up.shape)} and {list(down.shape)}, and the weight is {list(weight.shape)}",
            _REMEDY,
        )
    return up, down
