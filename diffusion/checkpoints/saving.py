"""Models, text encoders and autoencoders as tensors to be written to files: the original layout, patches applied."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence

from torch import Tensor

from diffusion.checkpoints.canonical import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX
from diffusion.checkpoints.facts import FACTS_KEY
from diffusion.checkpoints.marks import marks_of, predicted
from diffusion.config import LATENT_CHANNELS, VAEConfig
from diffusion.files.safetensors_writing import Stored
from diffusion.model import Clip, Model, Vae
from diffusion.patches import WeightPatch, patched_weight, touching
from diffusion.types import Weights

_LOG = logging.getLogger(__name__)
_KEY_LAYOUT = "https://github.com/CompVis/stable-diffusion"
_ARCHITECTURE = "stable-diffusion-v1"


def model_tensors(model: Model) -> dict[str, Stored]:
    """The UNet as checkpoints have it, and what it was trained to predict where that is not noise."""
    marks = {name: Stored.of(mark) for name, mark in marks_of(model).items()}
    return _stored(UNET_PREFIX, model.weights, model.patches) | marks


def clip_tensors(clip: Clip) -> dict[str, Stored]:
    """The text encoder with the keys of a file of its own."""
    return _stored("", clip.weights, clip.patches)


def vae_tensors(vae: Vae) -> dict[str, Stored]:
    """The autoencoder with the keys of a file of its own, in the original layout."""
    return _stored("", vae.weights, ())


def checkpoint_tensors(model: Model, clip: Clip, vae: Vae) -> dict[str, Stored]:
    """A whole checkpoint. Raises ValueError for a tiny autoencoder, which no checkpoint holds."""
    if not isinstance(vae.config, VAEConfig):
        raise ValueError(
            "A tiny autoencoder (TAESD) can't be part of a checkpoint: connect the VAE of a checkpoint, or one that "
            "VAELoader reads from models/vae. Save a tiny one by itself with VAESave."
        )
    return {
        **model_tensors(model),
        **_stored(TEXT_PREFIX, clip.weights, clip.patches),
        **_stored(VAE_PREFIX, vae.weights, ()),
    }


def header(
    title: str, *, model: Model | None = None, clip: Clip | None = None, vae: Vae | None = None
) -> dict[str, str]:
    """What a file's header says of these parts: facts that shapes do not tell, and the ModelSpec of Stability AI."""
    said = {"format": "pt", FACTS_KEY: json.dumps(_facts(model, clip, vae))}
    if model is not None:
        inpaints = model.config.in_channels != LATENT_CHANNELS
        said |= {
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.architecture": f"{_ARCHITECTURE}-inpainting" if inpaints else _ARCHITECTURE,
            "modelspec.implementation": _KEY_LAYOUT,
            "modelspec.title": title,
            **predicted(model),
        }
    return said


def _stored(prefix: str, weights: Weights, patches: Sequence[WeightPatch]) -> dict[str, Stored]:
    """Each weight in the precision of the file that it came from, computed when its turn comes."""
    return {prefix + key: _one(key, weights, patches) for key in weights}


def _one(key: str, weights: Weights, patches: Sequence[WeightPatch]) -> Stored:
    source, its_patches = weights[key], touching(key, patches)

    def make() -> Tensor:
        return patched_weight(key, weights[key], its_patches)

    return Stored(source.dtype, tuple(source.shape), make)


def _facts(model: Model | None, clip: Clip | None, vae: Vae | None) -> Mapping[str, object]:
    facts: dict[str, object] = {}
    if model is not None:
        facts["unet"] = {"num_heads": model.config.num_heads, "norm_groups": model.config.norm_groups}
    if vae is not None and isinstance(vae.config, VAEConfig):
        facts["vae"] = {"norm_groups": vae.config.norm_groups}
    if clip is not None:
        facts["text"] = {"num_heads": clip.config.num_heads, "activation": clip.config.activation}
        merges = clip.tokenizer.merges
        if merges is None:
            _LOG.warning(
                "The tokenizer has tokens of its own, which no checkpoint can hold: CLIP's is taken for it."
            )
        elif merges:
            facts["tokenizer"] = {"merges": list(merges)}
    return facts
