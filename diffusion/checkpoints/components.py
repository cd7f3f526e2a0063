"""Loads a UNet, a text encoder or a VAE alone: from a file of its own, from one in shards, or out of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffusion.checkpoints.canonical import TEXT_PREFIX, TEXT_ROOT, UNET_PREFIX, VAE_PREFIX
from diffusion.checkpoints.component_config import TEXT, UNET, VAE, folder_facts, read_json
from diffusion.checkpoints.diffusers_layout import is_diffusers_vae, unet_from_diffusers, vae_from_diffusers
from diffusion.checkpoints.facts import FACTS_KEY, Facts, facts_from_metadata
from diffusion.checkpoints.marks import MARKS, marked
from diffusion.checkpoints.parts import Origin, clip_of, model_of, vae_of
from diffusion.files.lookalikes import check_is_unet, check_is_vae
from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import WeightFile, read_weights
from diffusion.model import Clip, Model, Vae
from diffusion.runtime import Runtime
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Weights

_CONFIG = "config.json"


def load_unet_files(paths: Sequence[Path], runtime: Runtime) -> Model:
    """The Model of a UNet with original or diffusers keys, bare or within a checkpoint; `paths` are one file's shards.

    What shapes do not tell comes from the file's header, or from a config.json beside it. Raises CheckpointError for
    files that hold the same tensors, and as `load_checkpoint` does.
    """
    file = _read(paths, UNET_PREFIX, UNET)
    check_is_unet(file.path, file.weights)
    weights: Weights = {key: tensor for key, tensor in file.weights.items() if key not in MARKS}
    if any(key.startswith("down_blocks.") for key in weights):
        weights = unet_from_diffusers(weights)
    return marked(model_of(file.origin, weights, file.facts, runtime), file.keys)


def load_text_encoder_files(paths: Sequence[Path], runtime: Runtime, tokenizer: Path | None = None) -> Clip:
    """The Clip of a text encoder. tokenizer: the folder of its own; None for the one in the header, or CLIP's."""
    file = _read(paths, TEXT_PREFIX, TEXT)
    if not any(key.endswith("embeddings.token_embedding.weight") for key in file.weights):
        raise CheckpointError(
            file.path,
            "it holds no CLIP text encoder",
            "Name the file of the folder text_encoder, or a checkpoint.",
        )
    own = None if tokenizer is None else _tokenizer(tokenizer)
    # Some files hold the half that sees pictures too.
    text = {key: tensor for key, tensor in file.weights.items() if key.startswith(TEXT_ROOT)}
    return clip_of(file.origin, text or file.weights, file.facts, runtime, tokenizer=own)


def load_vae_files(paths: Sequence[Path], runtime: Runtime) -> Vae:
    """The Vae of an autoencoder with original or diffusers keys, bare or within a checkpoint."""
    file = _read(paths, VAE_PREFIX, VAE)
    check_is_vae(file.path, file.weights)
    weights = vae_from_diffusers(file.weights) if is_diffusers_vae(file.weights) else file.weights
    return vae_of(file.origin, weights, file.facts, runtime)


@dataclass(frozen=True, eq=False)
class _Component:
    """keys: all that the files have, whatever part they belong to."""

    path: Path
    keys: frozenset[str]
    weights: Weights
    facts: Facts
    origin: Origin


def _read(paths: Sequence[Path], prefix: str, part: str) -> _Component:
    """The tensors of all files, only those below `prefix` where there are any. part: its folder in diffusers."""
    files = [read_weights(path) for path in paths]
    path = files[0].path
    tensors: dict[str, Tensor] = {}
    for file in files:
        twice = next((key for key in file.tensors if key in tensors), None)
        if twice is not None:
            raise CheckpointError(
                file.path, f"it holds {twice}, and so does {path.name}", "Name one of them instead of both."
            )
        tensors.update(file.tensors)
    inside = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    origin = Origin(path, tuple(file.mapped for file in files), prefix if inside else "")
    return _Component(path, frozenset(tensors), inside or tensors, _facts(files[0], part), origin)


def _facts(file: WeightFile, part: str) -> Facts:
    config = file.path.with_name(_CONFIG)
    if FACTS_KEY in file.metadata or not config.is_file():
        return facts_from_metadata(file.path, file.metadata)
    return folder_facts(file.path.parent.parent, {part: read_json(config)})


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_folder(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            folder, f"its tokenizer is unusable ({error})", "Name a folder with vocab.json and merges.txt."
        ) from error
