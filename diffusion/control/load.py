"""Loads ControlNets and T2I-Adapters from files in any of their layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diffusion.checkpoints.canonical import conformed
from diffusion.checkpoints.component_config import read_json
from diffusion.checkpoints.facts import Facts, facts_from_metadata
from diffusion.config import AdapterConfig, ControlNetConfig
from diffusion.control.detect import adapter_config, controlnet_config
from diffusion.control.difference import added_to
from diffusion.control.layouts import adapter_weights, controlnet_weights
from diffusion.control.low_rank import MARK, from_low_rank
from diffusion.control.model import ControlModel, network_kind
from diffusion.files.lookalikes import seems_to_be
from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import WeightFile, read_weights
from diffusion.model import Model
from diffusion.runtime import Runtime

_FAMILY = "Stable Diffusion 1.x"
_REMEDY = "Use a ControlNet or T2I-Adapter for Stable Diffusion 1.x."
_POOLED_NAMES = ("_shuffle", "_shuffle_fp16")
"""How the names of files end whose ControlNets copy a style: nothing inside of them says so."""
_FOLDER_FILE = "diffusion_pytorch_model"
"""What files of diffusers' model folders are called; their config lies beside them."""
_DIFFERENCE = "difference"
_DIFFERENCES: Mapping[str, str] = {
    _DIFFERENCE: "a ControlNet's difference",
    MARK: "a Control-LoRA: a ControlNet's difference in low rank",
}
"""Files that hold what is to be added to a model's weights, by the key that tells."""
_OTHERS: Mapping[str, tuple[str, str]] = {
    "task_embedding": (
        "it is a ControlNet of several kinds in one (union), which there is for SDXL only",
        _REMEDY,
    ),
}
"""Files that look like ControlNets, by a key that gives them away."""


def load_control(path: Path, runtime: Runtime, base: Model | None = None) -> ControlModel:
    """Load a ControlNet or a T2I-Adapter for Stable Diffusion 1.x, in fp32, fp16 or bf16; no pickle code is run.

    A ControlNet is in the published layout (`control_model.`, or bare keys) or diffusers'; an adapter is a full or a
    light one, likewise. base: the model that a ControlNet is added to which is kept as a difference, whole or in
    low rank. Tensors are views
    of the mapped file, and none is read yet. Raises CheckpointError that says what the file is when it is anything
    else, or names the keys that are missing, extra or misshapen.
    """
    path = Path(path)
    file = read_weights(path)
    for mark, what in _DIFFERENCES.items():
        if mark in file.tensors and base is None:
            raise CheckpointError(
                path,
                f"it is {what} to the model it was trained on, not the ControlNet",
                "Load it with the DiffControlNetLoader node, which adds it to a model.",
            )
    if MARK in file.tensors and base is not None:
        return from_low_rank(file, base)
    tensors = {key: tensor for key, tensor in file.tensors.items() if key != _DIFFERENCE}
    for key, (problem, remedy) in _OTHERS.items():
        if key in tensors:
            raise CheckpointError(path, problem, remedy)
    weights = controlnet_weights(tensors)
    if weights is not None:
        settings = _settings(path)
        config = controlnet_config(path, weights, _facts(path, file, settings))
        pooled = path.stem.endswith(_POOLED_NAMES) or settings.get("global_pool_conditions") is True
        loaded = _model(file, weights, config, runtime, pooled=pooled)
        return added_to(loaded, base) if base is not None and _DIFFERENCE in file.tensors else loaded
    weights = adapter_weights(tensors)
    if weights is not None:
        return _model(file, weights, adapter_config(path, weights), runtime)
    raise CheckpointError(
        path,
        f"it is no ControlNet and no T2I-Adapter: it seems to be {seems_to_be(tensors)}",
        _REMEDY,
    )


def _model(
    file: WeightFile,
    weights: dict[str, Tensor],
    config: ControlNetConfig | AdapterConfig,
    runtime: Runtime,
    *,
    pooled: bool = False,
) -> ControlModel:
    part = "ControlNet" if isinstance(config, ControlNetConfig) else "T2I-Adapter"

    kind: type[nn.Module] = network_kind(config)
    conforming = runtime.loaded.weights(
        part,
        (file.mapped,),
        lambda: conformed(file.path, part, weights, lambda: kind(config), family=_FAMILY),
    )
    return ControlModel(conforming, config, pooled)


def _settings(path: Path) -> dict[str, Any]:
    """The config of a diffusers folder that the file lies in; empty when it lies in none."""
    beside = path.with_name("config.json")
    if not path.name.startswith(_FOLDER_FILE) or not beside.is_file():
        return {}
    settings = read_json(beside)
    order = settings.get("controlnet_conditioning_channel_order", "rgb")
    if order != "rgb":
        raise CheckpointError(
            beside, f"its pictures are in the channel order {order!r}, not rgb", "Use another ControlNet."
        )
    return settings


def _facts(path: Path, file: WeightFile, settings: Mapping[str, Any]) -> Facts:
    """What shapes do not tell: from the folder's config, else from the file's header, else Stable Diffusion 1.x's."""
    stated = facts_from_metadata(path, file.metadata)
    heads = settings.get("num_attention_heads") or settings.get("attention_head_dim") or stated.num_heads
    groups = settings.get("norm_num_groups") or stated.unet_groups
    for name, number in (("attention_head_dim", heads), ("norm_num_groups", groups)):
        if type(number) is not int or number < 1:
            raise CheckpointError(
                path.with_name("config.json"),
                f"{name} is {number!r}, not a positive integer",
                "Use a ControlNet for Stable Diffusion 1.x, or fetch the file again.",
            )
    return Facts(num_heads=heads, unet_groups=groups)
