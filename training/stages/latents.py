"""Draws pictures and keeps their latents and captions, so that the UNet's training need not encode anything."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import convert_conv2d_weight_memory_format
from tqdm import tqdm

from diffusion.config import LATENT_SCALE
from diffusion.networks.vae import Autoencoder
from diffusion.text.tokenizer import Tokenizer
from training.drawing import Example, Mixture
from training.drawing.styles import Style
from training.examples import as_pixels, example, token_ids
from training.loop import save_atomically

CHUNK = 500
BATCH = 20


@dataclass(frozen=True, eq=False)
class Latents:
    """What the UNet learns from. samples: [N, 4, 16, 16] float32, scaled. ids: [N, 77]. kinds: N names."""

    samples: Tensor
    ids: Tensor
    kinds: tuple[str, ...]


def cached_latents(
    vae: Autoencoder,
    tokenizer: Tokenizer,
    *,
    seed: int,
    count: int,
    mixture: Mixture,
    folder: Path,
    style: Style | None = None,
) -> Latents:
    """Latents of `count` drawn examples, kept in `folder` in chunks; chunks already there are not drawn again."""
    chunks = []
    vae = copy.deepcopy(vae)
    # Twice as fast here, where no gradients are needed, and slower where they are.
    convert_conv2d_weight_memory_format(vae, torch.channels_last)
    for start in tqdm(range(0, count, CHUNK), desc="latents", dynamic_ncols=True):
        path = folder / f"{start:06d}.pt"
        if not path.exists():
            numbers = range(start, min(count, start + CHUNK))
            drawn = [example(seed, "picture", number, mixture=mixture, style=style) for number in numbers]
            save_atomically(_encoded(vae, drawn), path)
        chunks.append(torch.load(path, weights_only=True))
    captions = [caption for chunk in chunks for caption in chunk["captions"]]
    kinds = tuple(kind for chunk in chunks for kind in chunk["kinds"])
    samples = torch.cat([chunk["samples"] for chunk in chunks]).float()
    return Latents(samples, token_ids(tokenizer, captions), kinds)


def _encoded(vae: Autoencoder, examples: Sequence[Example]) -> dict[str, object]:
    samples = []
    for start in range(0, len(examples), BATCH):
        pixels = as_pixels([one.picture for one in examples[start : start + BATCH]])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            mean, _ = vae.encode(pixels.contiguous(memory_format=torch.channels_last))
        samples.append((mean.float() * LATENT_SCALE).half())
    return {
        "samples": torch.cat(samples),
        "captions": [one.caption for one in examples],
        "kinds": [one.kind for one in examples],
    }
