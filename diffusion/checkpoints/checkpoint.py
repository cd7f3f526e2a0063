"""Loads checkpoints and VAEs: a file's tensors, sorted and checked, as Model, Clip and Vae values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffusion.checkpoints.canonical import (
    TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    averaged,
    canonical_vae,
    split,
)
from diffusion.checkpoints.diffusers_folder import load_diffusers
from diffusion.checkpoints.diffusers_layout import is_diffusers_vae, vae_from_diffusers
from diffusion.checkpoints.facts import facts_from_metadata
from diffusion.checkpoints.marks import marked
from diffusion.checkpoints.parts import Checkpoint, Origin, absent_clip, absent_vae, clip_of, model_of, vae_of
from diffusion.files.lookalikes import check_is_checkpoint, check_is_vae
from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_weights
from diffusion.model import Vae
from diffusion.runtime import Runtime

__all__ = ["Checkpoint", "CheckpointError", "load_checkpoint", "load_diffusers", "load_vae"]


def load_checkpoint(path: Path, runtime: Runtime, *, ema: bool = False) -> Checkpoint:
    """Load an original single-file Stable Diffusion 1.x checkpoint, .safetensors or .ckpt, fp32, fp16 or bf16.

    ema: take the weights averaged over training, which "full" files have beside the others. Empty tensors v_pred and
    ztsnr mark a UNet that predicts v. Tensors are views of
    the mapped file in its own dtype, and none is read yet. No pickle code is run. Raises CheckpointError that says
    what the file seems to be when it is anything else, or names the keys that are missing, extra or misshapen.
    """
    path = Path(path)
    file = read_weights(path)
    check_is_checkpoint(path, file.tensors)
    facts = facts_from_metadata(path, file.metadata)
    parts = split(path, file.tensors)
    unet = averaged(path, parts.unet, parts.ema) if ema else parts.unet
    from_unet, from_text, from_vae = (
        Origin(path, (file.mapped,), prefix) for prefix in (UNET_PREFIX, TEXT_PREFIX, VAE_PREFIX)
    )
    return Checkpoint(
        marked(model_of(replace(from_unet, ema=ema), unet, facts, runtime), file.tensors),
        clip_of(from_text, parts.text, facts, runtime) if parts.text else absent_clip(path, runtime),
        vae_of(from_vae, parts.vae, facts, runtime) if parts.vae else absent_vae(path, runtime),
    )


def load_vae(path: Path, runtime: Runtime) -> Vae:
    """Load an autoencoder from a file of its own or from a whole checkpoint, original or diffusers keys.

    Raises CheckpointError as `load_checkpoint` does.
    """
    path = Path(path)
    file = read_weights(path)
    check_is_vae(path, file.tensors)
    inside = {
        key.removeprefix(VAE_PREFIX): tensor
        for key, tensor in file.tensors.items()
        if key.startswith(VAE_PREFIX)
    }
    weights = canonical_vae(inside or file.tensors)
    if is_diffusers_vae(weights):
        weights = vae_from_diffusers(weights)
    return vae_of(Origin(path, (file.mapped,)), weights, facts_from_metadata(path, file.metadata), runtime)
