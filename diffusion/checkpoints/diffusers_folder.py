"""Loads model folders in diffusers form: one folder a network, with its config.json and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from diffusion.checkpoints.component_config import (
    SCHEDULER,
    TEXT,
    UNET,
    VAE,
    check_fixed,
    check_sizes,
    folder_facts,
    read_json,
    stated_training,
)
from diffusion.checkpoints.diffusers_layout import is_diffusers_vae, unet_from_diffusers, vae_from_diffusers
from diffusion.checkpoints.facts import Facts
from diffusion.checkpoints.parts import Checkpoint, Origin, absent_clip, absent_vae, clip_of, model_of, vae_of
from diffusion.config import VAEConfig
from diffusion.files.lookalikes import check_is_unet
from diffusion.files.mapped_file import CheckpointError, MappedFile
from diffusion.files.weight_files import WeightFile, read_weights
from diffusion.model import Clip, Model, Vae
from diffusion.runtime import Runtime
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Weights

INDEX = "model_index.json"
VARIANTS = ("", ".fp16", ".bf16")
"""What comes between a weight file's stem and suffix; full precision is taken before half where both are there."""
SUFFIXES = (".safetensors", ".bin")
OTHER_FAMILIES = ("text_encoder_2", "text_encoder_3", "transformer", "prior")
"""Components that no Stable Diffusion 1.x pipeline has."""


def load_diffusers(folder: Path, runtime: Runtime) -> Checkpoint:
    """Load a Stable Diffusion 1.x model folder: model_index.json, unet/, vae/, text_encoder/, tokenizer/.

    Weights are .safetensors or .bin, whole or in shards, with or without the variant fp16 or bf16; they stay mapped,
    in the files' own dtype, and no pickle code is run. Configs fill in what shapes do not tell; where both speak, they
    must agree. The scheduler's says what the UNet predicts, and at which levels. Raises CheckpointError as
    `load_checkpoint` does; using a VAE or text encoder that is missing raises it too.
    """
    folder = Path(folder)
    _check_pipeline(folder)
    configs = {
        part: read_json(folder / part / "config.json") for part in (UNET, VAE, TEXT) if _has(folder, part)
    }
    scheduler = folder / SCHEDULER / "scheduler_config.json"
    training = stated_training(scheduler, read_json(scheduler) if scheduler.is_file() else {})
    for part, config in configs.items():
        check_fixed(folder / part / "config.json", part, config)
    facts = folder_facts(folder, configs)
    if UNET not in configs:
        raise CheckpointError(folder, "its folder unet is missing", "Fetch the whole model folder.")
    return Checkpoint(
        _model(folder / UNET, facts, runtime, configs[UNET]).trained_as(training),
        _clip(folder / TEXT, facts, runtime, configs[TEXT])
        if TEXT in configs
        else absent_clip(folder, runtime),
        _vae(folder / VAE, facts, runtime, configs[VAE]) if VAE in configs else absent_vae(folder, runtime),
    )


def _has(folder: Path, part: str) -> bool:
    return (folder / part).is_dir()


def _check_pipeline(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(
            folder,
            "it is not a folder",
            "Choose the folder that holds model_index.json; load files as checkpoints.",
        )
    if not (folder / INDEX).is_file():
        raise CheckpointError(
            folder,
            f"it is not a model folder in diffusers form: it has no {INDEX}",
            f"Choose the folder that holds {INDEX}, with unet, vae and text_encoder beside it.",
        )
    index = read_json(folder / INDEX)
    foreign = [part for part in OTHER_FAMILIES if index.get(part) not in (None, [None, None])]
    if foreign or "XL" in str(index.get("_class_name")):
        parts = f", with {', '.join(foreign)}" if foreign else ""
        raise CheckpointError(
            folder,
            f"it is a model folder of another family ({index.get('_class_name')}{parts})",
            "Weft runs Stable Diffusion 1.x models.",
        )


def _model(folder: Path, facts: Facts, runtime: Runtime, config: dict[str, object]) -> Model:
    weights, files = _component(folder, "diffusion_pytorch_model")
    check_is_unet(folder, weights)
    model = model_of(Origin(folder, files), unet_from_diffusers(weights), facts, runtime)
    check_sizes(
        folder / "config.json",
        config,
        in_channels=model.config.in_channels,
        out_channels=model.config.out_channels,
        block_out_channels=list(model.config.channels),
        layers_per_block=model.config.blocks,
        cross_attention_dim=model.config.context_dim,
    )
    return model


def _vae(folder: Path, facts: Facts, runtime: Runtime, config: dict[str, object]) -> Vae:
    weights, files = _component(folder, "diffusion_pytorch_model")
    if is_diffusers_vae(weights):
        weights = vae_from_diffusers(weights)
    vae = vae_of(Origin(folder, files), weights, facts, runtime)
    assert isinstance(vae.config, VAEConfig)
    check_sizes(
        folder / "config.json",
        config,
        latent_channels=vae.config.latent_channels,
        block_out_channels=list(vae.config.channels),
        layers_per_block=vae.config.blocks,
    )
    return vae


def _clip(folder: Path, facts: Facts, runtime: Runtime, config: dict[str, object]) -> Clip:
    weights, files = _component(folder, "model", "pytorch_model")
    tokenizer = _tokenizer(folder.parent / "tokenizer")
    clip = clip_of(Origin(folder, files), weights, facts, runtime, tokenizer=tokenizer)
    check_sizes(
        folder / "config.json",
        config,
        vocab_size=clip.config.vocab_size,
        hidden_size=clip.config.width,
        num_hidden_layers=clip.config.layers,
        intermediate_size=clip.config.hidden,
        max_position_embeddings=clip.config.positions,
    )
    return clip


def _tokenizer(folder: Path) -> Tokenizer | None:
    if not folder.is_dir():
        return None
    try:
        return Tokenizer.from_folder(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            folder, f"its tokenizer is unusable ({error})", "Fetch the whole model folder again."
        ) from error


_Files = tuple[MappedFile, ...]


@dataclass(frozen=True)
class _Choice:
    """A weight file, or the index of one in shards."""

    path: Path
    sharded: bool


def _component(folder: Path, *stems: str) -> tuple[Weights, _Files]:
    """A network's tensors by the names in its files, and those files."""
    choice = next((choice for choice in _candidates(folder, stems) if choice.path.exists()), None)
    if choice is None:
        found = sorted(path.name for path in folder.iterdir())
        raise CheckpointError(
            folder,
            f"it has no weights under a name such as {stems[0]}.safetensors; it holds {', '.join(found) or 'nothing'}",
            "Fetch the whole model folder, with its large files.",
        )
    if choice.sharded:
        return _shards(choice.path)
    file = read_weights(choice.path)
    return file.tensors, (file.mapped,)


def _candidates(folder: Path, stems: tuple[str, ...]) -> list[_Choice]:
    return [
        choice
        for variant in VARIANTS
        for suffix in SUFFIXES
        for stem in stems
        for choice in (
            _Choice(folder / f"{stem}{variant}{suffix}", sharded=False),
            _Choice(folder / f"{stem}{variant}{suffix}.index.json", sharded=True),
            _Choice(folder / f"{stem}{suffix}.index{variant}.json", sharded=True),
        )
    ]


def _shards(index: Path) -> tuple[Weights, _Files]:
    """The tensors of every file that an index names, each taken from where the index says."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(_is_plain_name(name) for name in places.values()):
        raise CheckpointError(
            index, "it does not say which tensor is in which file beside it", "Fetch the model folder again."
        )
    files: dict[str, WeightFile] = {
        name: read_weights(index.parent / name) for name in sorted(set(places.values()))
    }
    lost = [key for key, name in places.items() if key not in files[name].tensors]
    if lost:
        raise CheckpointError(
            index,
            f"it names {lost[0]}, which {places[lost[0]]} does not hold",
            "Fetch the model folder again.",
        )
    tensors: dict[str, Tensor] = {key: files[name].tensors[key] for key, name in places.items()}
    return MappingProxyType(tensors), tuple(file.mapped for file in files.values())


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name
