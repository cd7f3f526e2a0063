"""The tiny checkpoint's networks: their sizes, their making, and their reading and writing as one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from diffusion.config import TextConfig, UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.text.text_encoder import TextEncoder
from diffusion.text.tokenizer import Tokenizer
from training.files import write_tensors

PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text": "cond_stage_model.transformer.",
}
"""Where the original single-file layout keeps each network."""

LARGEST_FILE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Sizes:
    """The sizes of the three networks. text.vocab_size is set by the merges."""

    unet: UNetConfig
    vae: VAEConfig
    text: TextConfig


TINY = Sizes(
    unet=UNetConfig(channels=(64, 64, 96, 64), blocks=1, context_dim=128),
    vae=VAEConfig(channels=(64, 64, 64, 64), blocks=1),
    text=TextConfig(width=128, layers=3, num_heads=2, hidden=512),
)


@dataclass(frozen=True, eq=False)
class Networks:
    """A whole small Stable Diffusion 1.x: float32 modules, and the merges its tokenizer is made of."""

    unet: UNet
    vae: Autoencoder
    text: TextEncoder
    merges: tuple[str, ...]

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that goes with the text encoder."""
        return Tokenizer.from_merges(self.merges)

    def parts(self) -> dict[str, nn.Module]:
        """The modules by their names in PREFIXES."""
        return {"unet": self.unet, "vae": self.vae, "text": self.text}


def fresh_networks(sizes: Sizes, merges: Sequence[str], seed: int) -> Networks:
    """Networks with random weights that depend on the seed alone."""
    text = TextConfig(**{**vars(sizes.text), "vocab_size": Tokenizer.from_merges(merges).size})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(UNet(sizes.unet), Autoencoder(sizes.vae), TextEncoder(text), tuple(merges))
    _start_text_small(networks.text)
    _start_unet_silent(networks.unet)
    return networks


def _start_text_small(text: TextEncoder) -> None:
    """Embeddings of CLIP's size: unit normals, as torch makes them, drown what the layers add."""
    embeddings = text.text_model.embeddings
    with torch.no_grad():
        embeddings.token_embedding.weight.mul_(0.02)
        embeddings.position_embedding.weight.mul_(0.02)


def _start_unet_silent(unet: UNet) -> None:
    """The last convolution starts at zero, so that the first prediction is no noise at all."""
    last = unet.out[-1]
    assert isinstance(last, nn.Conv2d)
    with torch.no_grad():
        last.weight.zero_()


def load_networks(path: Path, sizes: Sizes) -> Networks:
    """The networks of a checkpoint that `save_networks` wrote. Raises ValueError when the sizes are others."""
    with safe_open(path, "pt") as file:
        facts = json.loads((file.metadata() or {}).get("weft.facts", "{}"))
        names = file.keys()
        weights = {name: file.get_tensor(name).float() for name in names}
    if "tokenizer" not in facts:
        raise ValueError(f"{path} has no tokenizer in its header; start from a file that the trainer wrote")
    networks = fresh_networks(sizes, facts["tokenizer"]["merges"], seed=0)
    for name, module in networks.parts().items():
        prefix = PREFIXES[name]
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        try:
            module.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold networks of the recipe's sizes: {error}") from error
    return networks


def save_networks(networks: Networks, path: Path) -> None:
    """Write one checkpoint: the original key layout, float16, the facts in the header.

    Written whole or not at all. Raises ValueError above 16 MB.
    """
    weights: dict[str, Tensor] = {}
    for name, module in networks.parts().items():
        for key, value in module.state_dict().items():
            weights[PREFIXES[name] + key] = value.half()
    metadata = {"format": "pt", "weft.facts": json.dumps(_facts(networks))}
    write_tensors(path, weights, metadata, largest=LARGEST_FILE)


def _facts(networks: Networks) -> dict[str, object]:
    """What tensor shapes cannot tell a loader."""
    unet, vae, text = networks.unet.config, networks.vae.config, networks.text.config
    return {
        "unet": {"num_heads": unet.num_heads, "norm_groups": unet.norm_groups},
        "vae": {"norm_groups": vae.norm_groups},
        "text": {"num_heads": text.num_heads, "activation": text.activation},
        "tokenizer": {"merges": list(networks.merges)},
    }
