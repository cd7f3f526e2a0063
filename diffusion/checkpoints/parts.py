"""Makes Model, Clip and Vae values of a file's weights: config read off them, completeness checked, tokenizer found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, NoReturn

from torch import Tensor

from diffusion.checkpoints.canonical import canonical_text, canonical_vae, conformed
from diffusion.checkpoints.detect import text_config, unet_config, vae_config
from diffusion.checkpoints.facts import Facts
from diffusion.config import SD15_TEXT, SD15_VAE
from diffusion.files.mapped_file import CheckpointError
from diffusion.model import Clip, Model, Vae
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.runtime import Runtime
from diffusion.text.text_encoder import TextEncoder
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Weights


class Checkpoint(NamedTuple):
    """What a checkpoint holds. A file may lack clip or vae: using one that it lacks raises CheckpointError."""

    model: Model
    clip: Clip
    vae: Vae


@dataclass(frozen=True, eq=False)
class AbsentWeights(Mapping[str, Tensor]):
    """The weights of a part that a file does not have. Looking for any raises CheckpointError, which says so.

    So a checkpoint without a VAE serves a workflow that takes the VAE from elsewhere, and fails one that does not.
    """

    path: Path
    part: str
    remedy: str
    cache_nbytes: ClassVar[int] = 0
    """What caches count for them; looking inside to find out would raise."""

    def __getitem__(self, key: str) -> Tensor:
        self._fail()

    def __iter__(self) -> Iterator[str]:
        self._fail()

    def __len__(self) -> int:
        self._fail()

    def _fail(self) -> NoReturn:
        raise CheckpointError(self.path, f"it holds no {self.part}", self.remedy)


def absent_clip(path: Path, runtime: Runtime) -> Clip:
    """The Clip of a file without a text encoder: it raises CheckpointError when it is used."""
    remedy = "Take the CLIP output of a checkpoint that holds a text encoder."
    return Clip(AbsentWeights(path, "text encoder", remedy), SD15_TEXT, Tokenizer.clip(), runtime)


def absent_vae(path: Path, runtime: Runtime) -> Vae:
    """The Vae of a file without one: it raises CheckpointError when it is used."""
    return Vae(AbsentWeights(path, "VAE", "Load one with the VAELoader node instead."), SD15_VAE, runtime)


def model_of(path: Path, weights: Weights, facts: Facts, runtime: Runtime, *, prefix: str = "") -> Model:
    """The Model of canonical UNet weights, checked. prefix: of the file's own keys, for messages."""
    config = unet_config(path, weights, facts, prefix=prefix)
    return Model(conformed(path, "UNet", weights, lambda: UNet(config), prefix=prefix), config, runtime)


def vae_of(path: Path, weights: Weights, facts: Facts, runtime: Runtime, *, prefix: str = "") -> Vae:
    """The Vae of an autoencoder's weights with original keys, checked. prefix: of the file's own keys, for messages."""
    weights = canonical_vae(weights)
    config = vae_config(path, weights, facts, prefix=prefix)
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
    config = text_config(path, weights, facts, prefix=prefix)
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
