"""Makes Model, Clip and Vae values of a file's weights: config read off them, completeness checked, tokenizer found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, NoReturn

from torch import Tensor, nn

from diffusion.checkpoints.canonical import canonical_text, canonical_vae, conformed
from diffusion.checkpoints.detect import text_config, unet_config, vae_config
from diffusion.checkpoints.facts import Facts
from diffusion.config import SD15_TEXT, SD15_VAE
from diffusion.files.mapped_file import CheckpointError, MappedFile
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


@dataclass(frozen=True)
class Origin:
    """Where weights come from. path: what messages name, a file or a folder. files: what the tensors are views of.

    prefix: of the file's own keys, for messages. ema: whether they are those averaged over training.
    """

    path: Path
    files: tuple[MappedFile, ...]
    prefix: str = ""
    ema: bool = False

    def checked(
        self, part: str, weights: Weights, network: Callable[[], nn.Module], runtime: Runtime
    ) -> Weights:
        """`weights` if they are just those of `network`, the same object as long as one of them is in use."""
        return runtime.loaded.weights(
            (part, self.ema),
            self.files,
            lambda: conformed(self.path, part, weights, network, prefix=self.prefix),
        )


def model_of(origin: Origin, weights: Weights, facts: Facts, runtime: Runtime) -> Model:
    """The Model of canonical UNet weights, checked."""
    config = unet_config(origin.path, weights, facts, prefix=origin.prefix)
    return Model(origin.checked("UNet", weights, lambda: UNet(config), runtime), config, runtime)


def vae_of(origin: Origin, weights: Weights, facts: Facts, runtime: Runtime) -> Vae:
    """The Vae of an autoencoder's weights with original keys, checked."""
    weights = canonical_vae(weights)
    config = vae_config(origin.path, weights, facts, prefix=origin.prefix)
    return Vae(origin.checked("VAE", weights, lambda: Autoencoder(config), runtime), config, runtime)


def clip_of(
    origin: Origin, weights: Weights, facts: Facts, runtime: Runtime, *, tokenizer: Tokenizer | None = None
) -> Clip:
    """The Clip of a text encoder's weights, checked. tokenizer: None means the one the facts describe, or CLIP's."""
    path = origin.path
    weights = canonical_text(weights)
    config = text_config(path, weights, facts, prefix=origin.prefix)
    weights = origin.checked("text encoder", weights, lambda: TextEncoder(config), runtime)
    tokenizer = tokenizer or runtime.loaded.get(("tokenizer", facts.merges), lambda: _tokenizer(path, facts))
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
