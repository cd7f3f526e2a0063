"""Textual inversion (Gal et al. 2022): a word made of learned vectors, read from a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_weights

FindEmbedding = Callable[[str], Tensor | None]
"""The vectors [n, C] of the embedding of this name; None where there is none."""

SUFFIXES = (".safetensors", ".pt", ".bin")
"""What a prompt may leave out of the file's name, in the order in which they are tried."""

_TRAINED = "string_to_param."
_BUNDLED = "bundle_emb."
_OF_THIS_ENCODER = "clip_l"
_FEW = 8
"""A file of an unknown layout with more tensors than this is something else."""


def no_embeddings(name: str) -> Tensor | None:
    """For prompts in which none can be named."""
    return None


def read_embedding(path: Path) -> Tensor:
    """The vectors in a .safetensors, .pt or .bin file, [n, C] float32. No pickle code is run.

    Read are the files of the original's training (string_to_param), of diffusers (under the token's name), those with
    one tensor under any name, and of a file for two encoders CLIP ViT-L's half. Raises CheckpointError for a file that
    is no such thing, and for vectors that are not finite numbers.
    """
    tensors = read_weights(path).tensors
    chosen = [tensors[key] for key in _chosen(list(tensors))]
    if not chosen or any(tensor.ndim not in (1, 2) or 0 in tensor.shape for tensor in chosen):
        raise CheckpointError(
            path,
            f"it is not an embedding (it has {len(tensors)} tensors, {next(iter(tensors))} among them)",
            "Choose a textual inversion file; other kinds belong into other folders of models.",
        )
    vectors = torch.cat([tensor.reshape(-1, tensor.shape[-1]).float() for tensor in chosen])
    if not torch.isfinite(vectors).all():
        raise CheckpointError(path, "its vectors hold NaN or infinite numbers", "Use another copy of it.")
    return vectors


def _chosen(keys: Sequence[str]) -> Sequence[str]:
    """The names of the tensors that are the embedding's."""
    trained = [key for key in keys if key.startswith(_TRAINED)]
    if trained:
        return trained[:1]
    if _OF_THIS_ENCODER in keys:
        return [_OF_THIS_ENCODER]
    bundled = [key for key in keys if key.startswith(_BUNDLED) and f".{_TRAINED}" in key]
    return bundled or (keys[:1] if len(keys) <= _FEW else [])
