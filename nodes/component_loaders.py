"""Nodes that read one network of a model from a file of its own."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch

from diffusion.checkpoints.components import load_text_encoder_files, load_unet_files
from diffusion.model import Clip, Model
from diffusion.runtime import Runtime
from graph import QUIET, Choice, Context, File, Folders, node
from graph.errors import Problem
from nodes.fingerprints import file_stamp

UNETS = ("diffusion_models", "unet")
TEXT_ENCODERS = ("text_encoders", "clip")
STORED = {
    "default": None,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e4m3fn_fast": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class FileOfEither(File):
    """The name of a file in a folder, or in another one that older installations have for the same kind."""

    older: str = ""

    def choices(self, folders: Folders) -> tuple[str, ...]:
        names = dict.fromkeys((*super().choices(folders), *folders.list(self.older)))
        return tuple(sorted(names))

    def problem(self, value: str, folders: Folders) -> Problem | None:
        problem = super().problem(value, folders)
        return problem if problem and File(self.older).problem(value, folders) else None


def found(ctx: Context, kinds: tuple[str, ...], name: str) -> Path:
    """The file of this name in the first of these folders that has it."""
    for kind in kinds[:-1]:
        try:
            return ctx.folders.find(kind, name)
        except FileNotFoundError:
            continue
    return ctx.folders.find(kinds[-1], name)


def _placed(runtime: Runtime, **changes: Any) -> Runtime:
    return runtime.placed(replace(runtime.placement, **changes))


def _unet_stamp(*, unet_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(found(ctx, UNETS, unet_name))


@node("UNETLoader", title="Load Diffusion Model", category="advanced/loaders", fingerprint=_unet_stamp)
def unet_loader(
    *,
    unet_name: Annotated[str, FileOfEither(UNETS[0], older=UNETS[1])],
    weight_dtype: Annotated[str, Choice(tuple(STORED))] = "default",
    ctx: Context = QUIET,
) -> Model:
    """Read a UNet from a file of its own, in the original or the diffusers key layout, or out of a whole checkpoint.

    Inputs:
        unet_name: The file, relative to a diffusion_models (or unet) folder.
        weight_dtype: default takes weights as they are; the others round each to 8 bits first, which gives the pictures
            that such storage gives and saves no memory here. fp8_e4m3fn_fast is fp8_e4m3fn.

    Outputs:
        MODEL: The UNet that denoises latents.
    """
    runtime = ctx.service(Runtime, Runtime)
    model = load_unet_files([found(ctx, UNETS, unet_name)], runtime)
    dtype = STORED[weight_dtype]
    return model if dtype is None else replace(model, runtime=_placed(runtime, storage=dtype))


def _clip_stamp(*, clip_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(found(ctx, TEXT_ENCODERS, clip_name))


@node("CLIPLoader", title="Load CLIP", category="advanced/loaders", fingerprint=_clip_stamp)
def clip_loader(
    *,
    clip_name: Annotated[str, FileOfEither(TEXT_ENCODERS[0], older=TEXT_ENCODERS[1])],
    type: Annotated[str, Choice(("stable_diffusion",))] = "stable_diffusion",
    device: Annotated[str, Choice(("default", "cpu"))] = "default",
    ctx: Context = QUIET,
) -> Clip:
    """Read a CLIP text encoder from a file of its own, or out of a whole checkpoint.

    Inputs:
        clip_name: The file, relative to a text_encoders (or clip) folder.
        type: What it conditions: Stable Diffusion 1.x.
        device: cpu keeps it on the processor where everything else is on a GPU; it computes in float32 there.

    Outputs:
        CLIP: The text encoder with its tokenizer, the file's own or CLIP's.
    """
    runtime = ctx.service(Runtime, Runtime)
    if device == "cpu" and runtime.placement.device.type != "cpu":
        runtime = _placed(runtime, device=torch.device("cpu"), dtype=torch.float32, memory_limit=None)
    return load_text_encoder_files([found(ctx, TEXT_ENCODERS, clip_name)], runtime)
