"""What the workflows that come along need, and does not come along: a file of the user's below a models folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from graph import Folders

BROUGHT: Mapping[str, str] = MappingProxyType(
    {
        "clip_score": "clip_vision/clip-vit-large-patch14.safetensors",
        "controlnet": "controlnet/control_v11p_sd15_canny_fp16.safetensors",
        "diffusers_folder": "diffusers/stable-diffusion-v1-5/model_index.json",
        "safety_checker": "safety_checker/model.safetensors",
        "upscale_model": "upscale_models/RealESRGAN_x4plus.pth",
    }
)
"""By the workflow's name. Every other one runs out of the box."""


def with_what_is_brought(folders: Folders, name: str, models: Path) -> Folders:
    """The folders and `models`, into which an empty file goes where the workflow of this name needs one."""
    if name in BROUGHT:
        file = models / BROUGHT[name]
        file.parent.mkdir(parents=True)
        file.touch()
    return replace(folders, models=(*folders.models, models))
