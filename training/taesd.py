"""Distils the tiny checkpoint's autoencoder into a still smaller one, in TAESD's two files: decoder and encoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion.config import TinyVAEConfig
from diffusion.networks.tiny_decoder import TinyAutoencoder
from training.attention import blockwise
from training.drawing import Mixture
from training.files import write_tensors
from training.loop import Logbook, Plan, train
from training.networks import TINY, load_networks
from training.optimiser import Rates
from training.recipe import PICTURES
from training.stages.distilling import Distilling, lessons

log = logging.getLogger(__name__)

WIDTH = 16
LARGEST_FILE = 1024 * 1024
_OUTERMOST = ("decoder.1.", "decoder.19.", "encoder.0.", "encoder.14.")
PLAN = Plan(
    steps=3000, rates=Rates(matrix=4e-3, other=2e-3, decay=0.0, plain=_OUTERMOST), warmup=40, average=0.99
)


@dataclass(frozen=True)
class TaesdRecipe:
    """What, with a seed and a checkpoint, determines a tiny autoencoder. count: pictures for each part of a step."""

    width: int = WIDTH
    pictures: int = 800
    count: int = 4
    plan: Plan = PLAN
    mixture: Mixture = PICTURES


def make_taesd(checkpoint: Path, out: Path, *, recipe: TaesdRecipe, seed: int, logbook: Logbook) -> None:
    """Train and write `out`_decoder.safetensors and `out`_encoder.safetensors.

    Raises ValueError when a file would be larger than a megabyte.
    """
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tiny = TinyAutoencoder(TinyVAEConfig(recipe.width))
    with blockwise():
        learned = lessons(
            load_networks(checkpoint, TINY).vae,
            seed=seed,
            count=recipe.pictures,
            mixture=recipe.mixture,
            path=logbook.folder / "lessons.pt",
        )
        weights = train(
            "taesd", Distilling(tiny, learned, seed=seed, count=recipe.count), recipe.plan, logbook
        )
    save_taesd(weights, out)


def save_taesd(weights: Mapping[str, Tensor], out: Path) -> None:
    """Write `encoder.*` and `decoder.*` as two files with the keys that TAESD's have, float16."""
    for half in ("decoder", "encoder"):
        own = {
            key.removeprefix(f"{half}."): value.half()
            for key, value in weights.items()
            if key.startswith(f"{half}.")
        }
        path = out.with_name(f"{out.name}_{half}.safetensors")
        write_tensors(path, own, {"format": "pt"}, largest=LARGEST_FILE)
        log.info("wrote %s, %d bytes", path, path.stat().st_size)
