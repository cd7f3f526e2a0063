"""Latents on disk: the .latent file of the field's tools, which is a safetensors file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from diffusion.config import LATENT_SCALE
from diffusion.types import Latent

_TENSOR = "latent_tensor"
_UNSCALED = "latent_format_version_0"


def latent_bytes(latent: Latent, metadata: Mapping[str, str]) -> bytes:
    """The file's content; `metadata` (the workflow, say) goes into its header."""
    tensors = {_TENSOR: latent.samples.contiguous(), _UNSCALED: torch.tensor([])}
    return save(tensors, dict(metadata))


def read_latent(path: Path) -> Latent:
    """The latents of a file, float32. Files without the version mark hold them scaled, and are scaled back.

    Raises ValueError when the file is no latent.
    """
    try:
        tensors = load_file(path)
        samples = tensors[_TENSOR].float()
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path.name} is no latent file: it should be one that SaveLatent wrote ({error})."
        ) from error
    return Latent(samples if _UNSCALED in tensors else samples / LATENT_SCALE)
