"""Nodes that save models to files, and make a LoRA of the difference of two."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from diffusion.checkpoints.saving import (
    checkpoint_tensors,
    clip_tensors,
    header,
    model_tensors,
    vae_tensors,
)
from diffusion.files.safetensors_writing import Stored, write_safetensors
from diffusion.lora.extract import Kind, extracted
from diffusion.model import Clip, Model, Vae
from graph import QUIET, Context, Range, Shown, node
from nodes.metadata import workflow_metadata
from nodes.saving import FilePrefix, expand_prefix, save_numbered

CATEGORY = "advanced/model_merging"
Prefix = Annotated[str, FilePrefix()]


def saved(
    tensors: Mapping[str, Stored], metadata: Mapping[str, str], prefix: str, ctx: Context
) -> Shown[None]:
    """Write a .safetensors file into the output folder, with the workflow that made it."""
    write = partial(write_safetensors, tensors=tensors, metadata={**metadata, **workflow_metadata(ctx)})
    prefix = expand_prefix(prefix, ctx=ctx)
    place = save_numbered(ctx.folders.output, prefix, ".safetensors", write, kind="output")
    return Shown(None, ui={"models": [place]})


@node("CheckpointSave", title="Save Checkpoint", category=CATEGORY, output=True, io=True)
def checkpoint_save(
    *,
    model: Model,
    clip: Clip,
    vae: Vae,
    filename_prefix: Prefix = "checkpoints/ComfyUI",
    ctx: Context = QUIET,
) -> Shown[None]:
    """Save a whole checkpoint, LoRAs and merges worked in, to one .safetensors file in the output folder.

    It has the original key layout, which every program for Stable Diffusion 1.x reads; move it into models/checkpoints
    to load it here. Each weight keeps the precision of the file that it came from. Guidance and features on the UNet
    are no part of a file; that it predicts v is.

    Inputs:
        model: The UNet.
        clip: The text encoder.
        vae: The autoencoder, not a tiny one.
        filename_prefix: Start of the file's name, with folders before it; a number follows.
    """
    said = header(filename_prefix, model=model, clip=clip, vae=vae)
    return saved(checkpoint_tensors(model, clip, vae), said, filename_prefix, ctx)


@node("ModelSave", title="Save Model", category=CATEGORY, output=True, io=True)
def model_save(
    *, model: Model, filename_prefix: Prefix = "diffusion_models/ComfyUI", ctx: Context = QUIET
) -> Shown[None]:
    """Save a UNet, LoRAs and merges worked in, to a .safetensors file in the output folder, for UNETLoader.

    Inputs:
        model: The UNet.
        filename_prefix: Start of the file's name, with folders before it; a number follows.
    """
    return saved(model_tensors(model), header(filename_prefix, model=model), filename_prefix, ctx)


@node("CLIPSave", title="Save CLIP", category=CATEGORY, output=True, io=True)
def clip_save(*, clip: Clip, filename_prefix: Prefix = "clip/ComfyUI", ctx: Context = QUIET) -> Shown[None]:
    """Save a text encoder, LoRAs and merges worked in, to a .safetensors file in the output folder, for CLIPLoader.

    Inputs:
        clip: The text encoder.
        filename_prefix: Start of the file's name, with folders before it; a number follows.
    """
    return saved(clip_tensors(clip), header(filename_prefix, clip=clip), filename_prefix, ctx)


@node("VAESave", title="Save VAE", category=CATEGORY, output=True, io=True)
def vae_save(*, vae: Vae, filename_prefix: Prefix = "vae/ComfyUI_vae", ctx: Context = QUIET) -> Shown[None]:
    """Save an autoencoder to a .safetensors file in the output folder, for VAELoader.

    Inputs:
        vae: The autoencoder, full or tiny.
        filename_prefix: Start of the file's name, with folders before it; a number follows.
    """
    return saved(vae_tensors(vae), header(filename_prefix, vae=vae), filename_prefix, ctx)


@node("LoraSave", title="Extract and Save LoRA", category="_for_testing", output=True)
def lora_save(
    *,
    filename_prefix: Prefix = "loras/ComfyUI_extracted_lora",
    rank: Annotated[int, Range(1, 4096)] = 8,
    lora_type: Kind = "standard",
    bias_diff: bool = True,
    model_diff: Model | None = None,
    text_encoder_diff: Clip | None = None,
    ctx: Context = QUIET,
) -> Shown[None]:
    """Make a LoRA of the difference of two models, and save it to a .safetensors file in the output folder.

    Of each weight's difference it keeps the nearest matrix of that rank. The names are kohya's; it is kept in float16.

    Inputs:
        filename_prefix: Start of the file's name, with folders before it; a number follows.
        rank: The rank of each weight's factors; a weight whose sides are smaller has as much as it can have.
        lora_type: standard for factors; full_diff for the whole differences, as large as a model.
        bias_diff: Whether to keep the differences of biases and norms, which have no factors; diffusers reads none.
        model_diff: What ModelMergeSubtract gives.
        text_encoder_diff: What CLIPMergeSubtract gives. One of the two must be connected.
    """
    if model_diff is None and text_encoder_diff is None:
        raise ValueError(
            "LoraSave has nothing to save: connect model_diff (from ModelMergeSubtract), text_encoder_diff (from "
            "CLIPMergeSubtract), or both."
        )
    tensors: dict[str, Stored] = {}
    for difference in (model_diff, text_encoder_diff):
        if difference is not None:
            tensors |= extracted(
                difference, rank=rank, kind=lora_type, norms_and_biases=bias_diff, on_weight=ctx.progress
            )
    said = {"format": "pt", "modelspec.architecture": "stable-diffusion-v1/lora", "ss_network_dim": str(rank)}
    return saved(tensors, said, filename_prefix, ctx)
