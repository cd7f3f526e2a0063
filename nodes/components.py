"""Nodes for the parts of a model one by one: from files of their own, each in its own precision and place."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import torch

from diffusion.checkpoints.components import load_text_encoder_files, load_unet_files, load_vae_files
from diffusion.checkpoints.parts import absent_clip, absent_vae
from diffusion.model import Clip, Model, Vae
from diffusion.placement import DTYPES, choose_placement
from diffusion.runtime import Runtime
from graph import QUIET, Choice, Context, Folders, node
from graph.errors import Problem, UnsafePath
from nodes.fingerprints import file_stamp
from nodes.loaders import LoadedCheckpoint

STORAGE = {**DTYPES, "fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
DEFAULT = "default"
Device = str
ComputingType = Annotated[str, Choice((DEFAULT, *DTYPES))]
StorageType = Annotated[str, Choice((DEFAULT, *STORAGE))]
Part = TypeVar("Part", Model, Clip, Vae)
_MOST_FILES = 100


def matching(folders: Folders, pattern: str) -> list[Path]:
    """What a path or a pattern such as `diffusers/sd15/unet/*.safetensors` stands for below the models folders, sorted.

    The first folder that has any is taken. Raises UnsafePath for one that leads outside, FileNotFoundError for none,
    ValueError for more than 100.
    """
    name = pattern.strip().replace("\\", "/").rstrip("/")
    if not name or name.startswith("/") or ":" in name or ".." in name.split("/"):
        raise UnsafePath(f"{pattern!r} leads out of the models folders; give a path below them, without '..'")
    for root in folders.models:
        found = [path for path in sorted(root.glob(name)) if not path.name.startswith(".")]
        if len(found) > _MOST_FILES:
            raise ValueError(f"{pattern!r} stands for {len(found)} files; name those of one network.")
        if found:
            return found
    raise FileNotFoundError(f"there is no file {pattern!r} below {', '.join(map(str, folders.models))}")


@dataclass(frozen=True)
class FilePattern:
    """The rule of an input that names files below the models folders, or nothing."""

    def problem(self, value: str, folders: Folders) -> Problem | None:
        try:
            if value:
                matching(folders, value)
        except (OSError, ValueError, UnsafePath) as error:
            return Problem("value_not_in_list", f"a path or pattern below a models folder ({error})")
        return None

    def describe(self, folders: Folders) -> dict[str, object]:
        return {}

    def unsuitable(self, socket: str) -> str | None:
        return None if socket == "STRING" else "FilePattern stands on str only"


Pattern = Annotated[str, FilePattern()]


def _stamp(
    *, unet: str, text_encoder: str = "", vae: str = "", tokenizer: str = "", ctx: Context = QUIET
) -> str:
    files = [path for each in (unet, text_encoder, vae) if each for path in matching(ctx.folders, each)]
    folders = matching(ctx.folders, tokenizer) if tokenizer else []
    files += [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return "\n".join(map(file_stamp, files))


@node("ComponentLoader", title="Load Components", category="loaders", fingerprint=_stamp)
def component_loader(
    *,
    unet: Pattern,
    text_encoder: Pattern = "",
    vae: Pattern = "",
    tokenizer: Pattern = "",
    ctx: Context = QUIET,
) -> LoadedCheckpoint:
    """Read the parts of a Stable Diffusion 1.x model from files of their own, by path or pattern.

    A path is relative to a models folder: `diffusers/sd15/unet/diffusion_pytorch_model.safetensors`, or
    `diffusers/sd15/unet/*.safetensors`, which also stands for a file in shards. Original and diffusers keys are read,
    from files that hold one part, and out of whole checkpoints.

    Inputs:
        unet: The UNet's file.
        text_encoder: The text encoder's; empty if the CLIP output is not used.
        vae: The autoencoder's; empty if the VAE output is not used.
        tokenizer: A folder with the tokenizer's files; empty for CLIP's own.

    Outputs:
        MODEL: The UNet that denoises latents.
        CLIP: The text encoder with its tokenizer.
        VAE: The autoencoder between pictures and latents.
    """
    runtime = ctx.service(Runtime, Runtime)
    unet_files = matching(ctx.folders, unet)
    own_tokenizer = _folder(ctx.folders, tokenizer) if tokenizer else None
    return LoadedCheckpoint(
        load_unet_files(unet_files, runtime),
        load_text_encoder_files(matching(ctx.folders, text_encoder), runtime, own_tokenizer)
        if text_encoder
        else absent_clip(unet_files[0], runtime),
        load_vae_files(matching(ctx.folders, vae), runtime) if vae else absent_vae(unet_files[0], runtime),
    )


def _folder(folders: Folders, pattern: str) -> Path:
    found = matching(folders, pattern)
    if len(found) != 1 or not found[0].is_dir():
        raise ValueError(f"tokenizer {pattern!r} stands for {len(found)} files; name one folder.")
    return found[0]


@node("ModelPlacement", title="Model Precision and Device", category="advanced/model")
def model_placement(
    *,
    model: Model,
    device: Device = DEFAULT,
    computing_dtype: ComputingType = DEFAULT,
    storage_dtype: StorageType = DEFAULT,
) -> Model:
    """Compute a model elsewhere, or in another precision, than the program was started with.

    Inputs:
        model: The model.
        device: default, auto, cpu, cuda, cuda:1, mps.
        computing_dtype: What it computes in.
        storage_dtype: What its weights are rounded to first, as if they had been kept in that type. The numbers change;
            memory does not: weights stay in their file, and what is computed with is held in the computing type.

    Outputs:
        MODEL: The model.
    """
    return _placed(model, device, computing_dtype, storage_dtype)


@node("CLIPPlacement", title="CLIP Precision and Device", category="advanced/model")
def clip_placement(
    *,
    clip: Clip,
    device: Device = DEFAULT,
    computing_dtype: ComputingType = DEFAULT,
    storage_dtype: StorageType = DEFAULT,
) -> Clip:
    """Compute a text encoder elsewhere, or in another precision, than the program was started with.

    Inputs:
        clip: The text encoder.
        device: default, auto, cpu, cuda, cuda:1, mps.
        computing_dtype: What it computes in.
        storage_dtype: What its weights are rounded to first; see Model Precision and Device.

    Outputs:
        CLIP: The text encoder.
    """
    return _placed(clip, device, computing_dtype, storage_dtype)


@node("VAEPlacement", title="VAE Precision and Device", category="advanced/model")
def vae_placement(
    *,
    vae: Vae,
    device: Device = DEFAULT,
    computing_dtype: ComputingType = DEFAULT,
    storage_dtype: StorageType = DEFAULT,
) -> Vae:
    """Compute an autoencoder elsewhere, or in another precision, than the program was started with.

    Inputs:
        vae: The autoencoder.
        device: default, auto, cpu, cuda, cuda:1, mps.
        computing_dtype: What it computes in; fp16, in which some overflow, gives way to fp32.
        storage_dtype: What its weights are rounded to first; see Model Precision and Device.

    Outputs:
        VAE: The autoencoder.
    """
    return _placed(vae, device, computing_dtype, storage_dtype)


@node("ModelComputeDtype", category="advanced/debug/model")
def model_compute_dtype(*, model: Model, dtype: ComputingType = DEFAULT) -> Model:
    """Compute a model in another precision than the program was started with.

    Inputs:
        model: The model.
        dtype: The precision.

    Outputs:
        MODEL: The model.
    """
    return _placed(model, DEFAULT, dtype, DEFAULT)


def _placed(part: Part, device: str, computing: str, storage: str) -> Part:
    now = part.runtime.placement
    place = choose_placement(
        str(now.device) if device == DEFAULT else device,
        _name(now.dtype) if computing == DEFAULT else computing,
    )
    placement = replace(
        now,
        device=place.device,
        dtype=place.dtype,
        storage=now.storage if storage == DEFAULT else STORAGE[storage],
        memory_limit=now.memory_limit if place.device == now.device else None,
    )
    return replace(part, runtime=part.runtime.placed(placement))


def _name(dtype: torch.dtype) -> str:
    return next(name for name, known in DTYPES.items() if known == dtype)
