"""Reads tiny autoencoders (TAESD) as Vae values, from the layouts in which their two halves are passed around."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from diffusion.checkpoints.parts import Origin
from diffusion.config import LATENT_CHANNELS, TinyVAEConfig
from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_weights
from diffusion.model import Vae
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.networks.vae import RGB
from diffusion.runtime import Runtime
from diffusion.types import Weights

_ONE_HALF = re.compile(r"\d+\.(conv\.\d+\.|skip\.)?(weight|bias)")
_BOTH_HALVES = re.compile(r"(taesd_)?(encoder|decoder)\.(layers\.)?(\d+)\.((?:conv\.\d+\.)?(?:weight|bias))")
_SCALES = frozenset({"vae_scale", "vae_shift"})
"""Numbers that some files hold beside the weights; for Stable Diffusion 1.x they are always the same."""
_REMEDY = (
    "Use the TAESD files for Stable Diffusion 1.x: taesd_decoder.safetensors and taesd_encoder.safetensors."
)


def is_tiny_vae(weights: Weights) -> bool:
    """Whether these keys are those of a tiny autoencoder, or of one half of it, in any layout."""
    keys = weights.keys() - _SCALES
    return bool(keys) and (all(map(_ONE_HALF.fullmatch, keys)) or all(map(_BOTH_HALVES.fullmatch, keys)))


def load_tiny_vae(paths: Sequence[Path], runtime: Runtime) -> Vae:
    """The Vae in these files: the two halves, one of them, or a file of both.

    Layouts: the published halves (`1.weight`, ...), both with `taesd_decoder.` and `taesd_encoder.` before them, and
    diffusers' (`decoder.layers.0.weight`, ...). A Vae of one half says so when it is asked for the other. Raises
    CheckpointError when a file is something else or incomplete, and when the halves are of different widths.
    """
    weights: dict[str, Tensor] = {}
    files = {path: read_weights(path) for path in paths}
    for path, file in files.items():
        tensors = file.tensors
        if not is_tiny_vae(tensors):
            raise CheckpointError(path, "its keys are not those of a tiny autoencoder (TAESD)", _REMEDY)
        weights |= _canonical(path, tensors)
    path = paths[-1]
    config = _config(path, weights)
    origin = Origin(path, tuple(file.mapped for file in files.values()))
    return Vae(origin.checked("tiny VAE", weights, lambda: TinyAutoencoder(config), runtime), config, runtime)


def _canonical(path: Path, tensors: Weights) -> dict[str, Tensor]:
    """Under the keys of TinyAutoencoder. diffusers does not count the decoder's first layer, which has no weights."""
    result = {}
    for key, tensor in tensors.items():
        if match := _BOTH_HALVES.fullmatch(key):
            _, half, layers, number, rest = match.groups()
            place = int(number) + (1 if layers and half == "decoder" else 0)
            result[f"{half}.{place}.{rest}"] = tensor
        elif key not in _SCALES:
            result[f"{_half(path, tensors)}.{key}"] = tensor
    return result


def _half(path: Path, tensors: Weights) -> str:
    """Which half a file holds, told by what its first convolution takes."""
    for half, first, channels in (("encoder", "0.weight", RGB), ("decoder", "1.weight", LATENT_CHANNELS)):
        if first in tensors and tensors[first].ndim == 4:
            if tensors[first].shape[1] == channels:
                return half
            taken = tensors[first].shape[1]
            raise CheckpointError(
                path, f"its first convolution takes {taken} channels, and a {half}'s {channels}", _REMEDY
            )
    raise CheckpointError(path, "it lacks its first convolution", _REMEDY)


def _config(path: Path, weights: Weights) -> TinyVAEConfig:
    firsts = {
        half: weights.get(f"{half}.{number}.weight") for half, number in (("encoder", 0), ("decoder", 1))
    }
    widths = {half: len(first) for half, first in firsts.items() if first is not None and first.ndim == 4}
    if len(set(widths.values())) != 1:
        found = ", ".join(f"{half} {width}" for half, width in widths.items()) or "none found"
        raise CheckpointError(path, f"its halves should be of one width: {found}", _REMEDY)
    present = {half: any(key.startswith(f"{half}.") for key in weights) for half in firsts}
    return TinyVAEConfig(
        width=next(iter(widths.values())), encodes=present["encoder"], decodes=present["decoder"]
    )
