"""Loads checkpoints and VAEs: a file's tensors, sorted and checked, as Model, Clip and Vae values."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

from diffusion.canonical import (
    TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    averaged,
    canonical_text,
    canonical_vae,
    conformed,
    split,
)
from diffusion.detect import text_config, unet_config, vae_config
from diffusion.diffusers_layout import is_diffusers_vae, vae_from_diffusers
from diffusion.facts import Facts, facts_from_metadata
from diffusion.lookalikes import check_is_checkpoint, check_is_vae
from diffusion.mapped_file import CheckpointError
from diffusion.model import Clip, Model, Vae
from diffusion.runtime import Runtime
from diffusion.text_encoder import TextEncoder
from diffusion.tokenizer import Tokenizer
from diffusion.types import Weights
from diffusion.unet import UNet
from diffusion.vae import Autoencoder
from diffusion.weight_files import read_weights

Part = TypeVar("Part", Clip, Vae)


class Checkpoint(NamedTuple):
    """What a checkpoint holds. Some files come without a text encoder or a VAE: see `part_of`."""

    model: Model
    clip: Clip | None
    vae: Vae | None


def load_checkpoint(path: Path, runtime: Runtime, *, ema: bool = False) -> Checkpoint:
    """Load an original single-file Stable Diffusion 1.x checkpoint, .safetensors or .ckpt, fp32, fp16 or bf16.

    ema: take the weights averaged over training, which "full" files have beside the others. Tensors are views of
    the mapped file in its own dtype, and none is read yet. No pickle code is run. Raises CheckpointError that says
    what the file seems to be when it is anything else, or names the keys that are missing, extra or misshapen.
    """
    path = Path(path)
    file = read_weights(path)
    check_is_checkpoint(path, file.tensors)
    facts = facts_from_metadata(path, file.metadata)
    parts = split(path, file.tensors)
    unet = averaged(path, parts.unet, parts.ema) if ema else parts.unet
    return Checkpoint(
        model_of(path, unet, facts, runtime, prefix=UNET_PREFIX),
        clip_of(path, parts.text, facts, runtime, prefix=TEXT_PREFIX) if parts.text else None,
        vae_of(path, parts.vae, facts, runtime, prefix=VAE_PREFIX) if parts.vae else None,
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
    return vae_of(path, weights, facts_from_metadata(path, file.metadata), runtime)


def part_of(checkpoint_path: Path, part: Part | None, what: str) -> Part:
    """`part`, a checkpoint's Clip or Vae, if the file has it. Raises CheckpointError if not. what: "VAE", say."""
    if part is None:
        raise CheckpointError(
            checkpoint_path,
            f"it holds no {what}",
            f"Load the {what} from another file, or use a complete checkpoint.",
        )
    return part


def model_of(path: Path, weights: Weights, facts: Facts, runtime: Runtime, *, prefix: str = "") -> Model:
    """The Model of canonical UNet weights, checked. prefix: of the file's own keys, for messages."""
    config = unet_config(path, weights, facts)
    return Model(conformed(path, "UNet", weights, lambda: UNet(config), prefix=prefix), config, runtime)


def vae_of(path: Path, weights: Weights, facts: Facts, runtime: Runtime, *, prefix: str = "") -> Vae:
    """The Vae of an autoencoder's weights with original keys, checked. prefix: of the file's own keys, for messages."""
    weights = canonical_vae(weights)
    config = vae_config(path, weights, facts)
    return Vae(conformed(path, "VAE", weights, lambda: Autoencoder(config), prefix=prefix), config, runtime)


def clip_of(
    path: Path,
    weights: Weights,
    facts: Facts,
    runtime: Runtime,
    *,
    prefix: str = "",
    tokenizer: Tokenizer | None = None,
) -> Clip:
    """The Clip of a text encoder's weights, checked. tokenizer: None means the one the facts describe, or CLIP's."""
    weights = canonical_text(weights)
    config = text_config(path, weights, facts)
    weights = conformed(path, "text encoder", weights, lambda: TextEncoder(config), prefix=prefix)
    tokenizer = tokenizer or _tokenizer(path, facts)
    if tokenizer.size > config.vocab_size:
        raise CheckpointError(
            path,
            f"its text encoder knows {config.vocab_size} tokens, and its tokenizer makes {tokenizer.size}",
            "A model with a vocabulary of its own must carry its merges: in the header of a .safetensors file "
            "(weft.facts), or in the tokenizer folder of a model folder.",
        )
    return Clip(weights, config, tokenizer, runtime)


def _tokenizer(path: Path, facts: Facts) -> Tokenizer:
    if facts.merges is None:
        return Tokenizer.clip()
    try:
        return Tokenizer.from_merges(facts.merges)
    except ValueError as error:
        raise CheckpointError(
            path,
            f"the tokenizer in its header is unusable ({error})",
            "Write the file again with its trainer.",
        ) from error
