"""What an attack needs beside values: a small checkpoint, a folder with a file of every kind, and a value for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.config import ControlNetConfig
from diffusion.control.model import network_kind
from diffusion.evaluation.clip_score import load_clip_scorer
from diffusion.evaluation.frechet import FeatureStatistics
from diffusion.files.latent_file import latent_bytes
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.runtime import Runtime
from diffusion.safety.checker import load_safety_checker
from diffusion.safety.vision import VisionConfig, VisionTransformer
from diffusion.types import Latent
from graph import Context, Folders, Port
from graph.ports import Choice, File
from graph.sockets import takes_constants
from nodes import REGISTRY
from nodes.control import control_net_loader
from nodes.upscale import upscale_model_loader
from tests.diffusion.checkpoint_samples import networks, original, write
from tests.diffusion.reference import random_weights
from tests.nodes.attack import values
from tests.nodes.attack.values import FACTS, SMALL

_LORA = "lora_unet_middle_block_1_proj_in"
_TEXTS: Mapping[str, str] = {
    "ComponentLoader.unet": "checkpoints/good.safetensors",
    "MathExpression.expression": "a + 1",
    "ManualSigmas.sigmas": "14.6, 3, 0",
    "EvaluationSweep.scales": "1.5, 2",
    "EvaluationSweep.samplers": "euler",
    "ShapeAdherence.prompt": "a red circle on a white background",
    "ParseList.text": "1, 2",
    "StringFormat.template": "{a}",
}
_NUMBERS: Mapping[str, int] = {"CompVisTxt2Img.H": 64, "CompVisTxt2Img.W": 64, "ListItem.index": 0}


@dataclass(frozen=True)
class Camp:
    """A place to attack from. values: a good one for each type of socket. models: odd ones, by what is odd."""

    folders: Folders
    values: Mapping[str, Any]
    models: Mapping[str, Any]

    def constants(self, class_type: str) -> dict[str, Any]:
        """What a node needs written down so that it works."""
        found: dict[str, Any] = {}
        for port in REGISTRY[class_type].inputs:
            name = f"{class_type}.{port.name}"
            if name in _TEXTS:
                found[port.name] = _TEXTS[name]
            elif name in _NUMBERS or port.name in ("steps", "ddim_steps"):
                found[port.name] = _NUMBERS.get(name, 2)
            elif port.required and is_written(port):
                found[port.name] = self._constant(port)
        return found

    def linked(self, class_type: str) -> dict[str, Any]:
        """What a node needs over links so that it works."""
        ports = REGISTRY[class_type].inputs
        return {
            port.name: self.values[port.socket] for port in ports if port.required and not is_written(port)
        }

    def _constant(self, port: Port) -> Any:
        if isinstance(port.rule, Choice | File) or port.socket == "COMBO":
            return (*port.rule.choices(self.folders), "none")[0]  # type: ignore[union-attr]
        return {"INT": 1, "FLOAT": 1.0, "BOOLEAN": True, "*": 3, "INT,FLOAT": 2}.get(port.socket, "a")


def is_written(port: Port) -> bool:
    """Whether a value for it is written into a workflow."""
    return takes_constants(port.socket)


def pitch(root: Path) -> Camp:
    """Make the files, and the values out of them."""
    folders = Folders(
        models=(root / "models",), input=root / "input", output=root / "output", temp=root / "temp"
    )
    for name in (
        "checkpoints",
        "loras",
        "vae",
        "controlnet",
        "upscale_models",
        "hypernetworks",
        "embeddings",
    ):
        (root / "models" / name).mkdir(parents=True)
    for name in ("diffusion_models", "text_encoders", "clip_vision", "safety_checker"):
        (root / "models" / name).mkdir()
    for folder in (folders.input, folders.output, folders.temp):
        folder.mkdir()
    _fill_models(root / "models")
    _fill_input(folders)
    runtime, ctx = Runtime(), Context(folders=folders)
    checkpoint = load_checkpoint(root / "models/checkpoints/good.safetensors", runtime)
    made = {
        "CONTROL_NET": control_net_loader(control_net_name="good.safetensors", ctx=ctx),
        "UPSCALE_MODEL": upscale_model_loader(model_name="good.safetensors", ctx=ctx),
        "FEATURES": FeatureStatistics.of(np.random.default_rng(0).normal(size=(9, 4))),
        "SAFETY_CHECKER": load_safety_checker(root / "models/safety_checker/good.safetensors"),
        "CLIP_SCORER": load_clip_scorer(root / "models/clip_vision/good.safetensors"),
    }
    others = values.models(checkpoint, root / "models" / "checkpoints")
    return Camp(folders, values.good(checkpoint, made), others)


def _fill_models(models: Path) -> None:
    unet, text, vae = networks(SMALL)
    write(models / "checkpoints" / "good.safetensors", original(unet=SMALL), FACTS)
    write(models / "vae" / "good.safetensors", vae)
    write(models / "diffusion_models" / "good.safetensors", unet, FACTS)
    write(models / "text_encoders" / "good.safetensors", text)
    write(models / "clip_vision" / "good.safetensors", _clip())
    write(models / "safety_checker" / "good.safetensors", _safety())
    save_file(
        {
            f"{_LORA}.lora_down.weight": torch.ones(4, 64, 1, 1),
            f"{_LORA}.lora_up.weight": torch.ones(64, 4, 1, 1),
        },
        models / "loras" / "good.safetensors",
    )
    net = ControlNetConfig(SMALL)
    weights = random_weights(lambda: network_kind(net)(net))  # type: ignore[arg-type]
    save_file(dict(weights), models / "controlnet" / "good.safetensors", FACTS)
    upscaler = CompactNet(CompactConfig(width=16, convolutions=2, scale=2)).state_dict()
    save_file(upscaler, models / "upscale_models" / "good.safetensors")
    state = {"linear.0.weight": torch.eye(64), "linear.0.bias": torch.zeros(64)}
    torch.save({64: (state, state)}, models / "hypernetworks" / "good.pt")
    torch.save({"string_to_param": {"*": torch.ones(2, 64)}}, models / "embeddings" / "good.pt")


def _fill_input(folders: Folders) -> None:
    for folder in (folders.input, folders.output):
        Pillow.new("RGBA", (64, 64), (200, 10, 30, 90)).save(folder / "good.png")
    (folders.input / "good.txt").write_text("a cat\na dog\n")
    (folders.input / "good.latent").write_bytes(latent_bytes(Latent(torch.rand(1, 4, 8, 8)), {}))
    np.save(folders.input / "good.npy", np.random.default_rng(0).normal(size=(9, 4)))


def _vision() -> dict[str, torch.Tensor]:
    config = VisionConfig(width=64, hidden=64, layers=1, patch=16, image=32)
    return dict(random_weights(lambda: VisionTransformer(config)))


def _safety() -> dict[str, torch.Tensor]:
    vision = {f"vision_model.vision_model.{key}": tensor for key, tensor in _vision().items()}
    concepts = {
        name: torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
        for name in ("concept_embeds", "special_care_embeds")
    }
    limits = {f"{name}_weights": torch.zeros(3) for name in concepts}
    return {**vision, **concepts, **limits, "visual_projection.weight": torch.ones(24, 64)}


def _clip() -> dict[str, torch.Tensor]:
    vision = {f"vision_model.{key}": tensor for key, tensor in _vision().items()}
    projections = {f"{name}_projection.weight": torch.eye(24, 64) for name in ("visual", "text")}
    return {**networks()[1], **vision, **projections}
