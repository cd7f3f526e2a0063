"""Nodes that read models: checkpoints, diffusers folders, a VAE on its own, LoRA files."""

from pathlib import Path
from typing import Annotated, NamedTuple

from diffusion.approximations.tiny_vae import is_tiny_vae, load_tiny_vae
from diffusion.checkpoints.checkpoint import load_checkpoint, load_diffusers, load_vae
from diffusion.files.weight_files import read_weights
from diffusion.lora.apply import apply_lora
from diffusion.lora.read import read_lora
from diffusion.lora.scale import BESIDE
from diffusion.model import Clip, Model, Vae
from diffusion.runtime import Runtime
from graph import QUIET, Context, File, Range, node
from nodes.fingerprints import file_stamp, folder_stamp
from nodes.tiny_vaes import VaeFile, tiny_vae_files

LoraStrength = Annotated[float, Range(-100, 100, step=0.01)]


class LoadedCheckpoint(NamedTuple):
    """The three parts of a checkpoint."""

    MODEL: Model
    CLIP: Clip
    VAE: Vae


class ModelAndClip(NamedTuple):
    """A model with its text encoder."""

    MODEL: Model
    CLIP: Clip


def _checkpoint_stamp(*, ckpt_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("checkpoints", ckpt_name))


@node("CheckpointLoaderSimple", title="Load Checkpoint", category="loaders", fingerprint=_checkpoint_stamp)
def checkpoint_loader_simple(
    *,
    ckpt_name: Annotated[str, File("checkpoints")],
    use_ema: bool = False,
    ctx: Context = QUIET,
) -> LoadedCheckpoint:
    """Read a Stable Diffusion 1.x checkpoint from one file (.safetensors or .ckpt; fp32, fp16 or bf16).

    The sizes of its networks are read off its weights. Pickle code in a .ckpt is never run.

    Inputs:
        ckpt_name: The file, relative to a checkpoints folder.
        use_ema: Take the averaged (EMA) weights of a full training checkpoint instead of the plain ones.

    Outputs:
        MODEL: The UNet that denoises latents.
        CLIP: The text encoder with its tokenizer.
        VAE: The autoencoder between pictures and latents.
    """
    path = ctx.folders.find("checkpoints", ckpt_name)
    loaded = load_checkpoint(path, ctx.service(Runtime, Runtime), ema=use_ema)
    return LoadedCheckpoint(loaded.model, loaded.clip, loaded.vae)


def _diffusers_stamp(*, model_path: str, ctx: Context = QUIET) -> str:
    return folder_stamp(ctx.folders.find("diffusers", model_path))


@node("DiffusersLoader", title="Load Diffusers Folder", category="loaders", fingerprint=_diffusers_stamp)
def diffusers_loader(
    *, model_path: Annotated[str, File("diffusers")], ctx: Context = QUIET
) -> LoadedCheckpoint:
    """Read a Stable Diffusion 1.x model from a folder in the diffusers layout (safetensors or .bin, fp16 variants too).

    Inputs:
        model_path: The folder that holds model_index.json, relative to a diffusers folder.

    Outputs:
        MODEL: The UNet that denoises latents.
        CLIP: The text encoder with the folder's own tokenizer.
        VAE: The autoencoder between pictures and latents.
    """
    loaded = load_diffusers(ctx.folders.find("diffusers", model_path), ctx.service(Runtime, Runtime))
    return LoadedCheckpoint(loaded.model, loaded.clip, loaded.vae)


def _vae_stamp(*, vae_name: str, ctx: Context = QUIET) -> str:
    halves = tiny_vae_files(ctx.folders, vae_name)
    return "\n".join(map(file_stamp, halves or [ctx.folders.find("vae", vae_name)]))


@node("VAELoader", title="Load VAE", category="loaders", fingerprint=_vae_stamp)
def vae_loader(*, vae_name: Annotated[str, VaeFile("vae")], ctx: Context = QUIET) -> Vae:
    """Read an autoencoder on its own, in the original or the diffusers key layout; or a tiny one (TAESD).

    A tiny one is a fraction of the size and time, and loses some of the picture. Its two files are in a vae_approx
    folder, NAME_decoder.safetensors and NAME_encoder.safetensors (which may be missing where nothing is encoded), and
    NAME is its name here: `taesd` is the one for Stable Diffusion 1.x.

    Inputs:
        vae_name: The file, relative to a vae folder, or the name of a tiny one.

    Outputs:
        VAE: The autoencoder between pictures and latents.
    """
    runtime = ctx.service(Runtime, Runtime)
    if halves := tiny_vae_files(ctx.folders, vae_name):
        return load_tiny_vae(halves, runtime)
    path = ctx.folders.find("vae", vae_name)
    return (
        load_tiny_vae([path], runtime) if is_tiny_vae(read_weights(path).tensors) else load_vae(path, runtime)
    )


def _lora_stamp(*, lora_name: str, ctx: Context = QUIET) -> str:
    path = _lora_path(lora_name, ctx)
    return "\n".join(file_stamp(file) for file in (path, path.with_name(BESIDE)) if file.exists())


def _lora_path(lora_name: str, ctx: Context) -> Path:
    return ctx.folders.find("loras", lora_name)


@node("LoraLoader", title="Load LoRA", category="loaders", fingerprint=_lora_stamp)
def lora_loader(
    *,
    model: Model,
    clip: Clip,
    lora_name: Annotated[str, File("loras")],
    strength_model: LoraStrength = 1.0,
    strength_clip: LoraStrength = 1.0,
    ctx: Context = QUIET,
) -> ModelAndClip:
    """Add a LoRA to a model and its text encoder. Any number can be chained; no weight is copied.

    Inputs:
        model: The model to add it to.
        clip: The text encoder to add it to.
        lora_name: The file, relative to a loras folder: LoRA, LoCon, LoHa, LoKr, DoRA or whole differences, by the
            names of kohya, LyCORIS, diffusers or peft.
        strength_model: How strongly it changes the model; may be negative; 0 leaves the model as it is.
        strength_clip: The same for the text encoder.

    Outputs:
        MODEL: The model with the LoRA.
        CLIP: The text encoder with the LoRA.
    """
    changed_model, changed_clip = apply_lora(
        model,
        clip,
        read_lora(_lora_path(lora_name, ctx)),
        strength_model=strength_model,
        strength_clip=strength_clip,
    )
    assert changed_model is not None
    assert changed_clip is not None
    return ModelAndClip(changed_model, changed_clip)


@node("LoraLoaderModelOnly", title="Load LoRA (Model Only)", category="loaders", fingerprint=_lora_stamp)
def lora_loader_model_only(
    *,
    model: Model,
    lora_name: Annotated[str, File("loras")],
    strength_model: LoraStrength = 1.0,
    ctx: Context = QUIET,
) -> Model:
    """Add a LoRA to a model and leave the text encoder as it is.

    Inputs:
        model: The model to add it to.
        lora_name: The file, relative to a loras folder: LoRA, LoCon, LoHa, LoKr, DoRA or whole differences, by the
            names of kohya, LyCORIS, diffusers or peft.
        strength_model: How strongly it changes the model; may be negative; 0 leaves the model as it is.

    Outputs:
        MODEL: The model with the LoRA.
    """
    lora = read_lora(_lora_path(lora_name, ctx))
    changed, _ = apply_lora(model, None, lora, strength_model=strength_model, strength_clip=0.0)
    assert changed is not None
    return changed
