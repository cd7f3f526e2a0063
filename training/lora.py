"""Trains a LoRA for the tiny checkpoint's UNet on pictures in one style, and writes it in kohya's key layout.

Low-rank adaptation: Hu et al. 2021, eq. 3, for convolutions as well as linear layers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from diffusion.checkpoints.diffusers_names import unet_modules
from diffusion.config import UNetConfig
from diffusion.networks.layers import Conv2d, GatedLinear, Linear
from training.attention import blockwise
from training.drawing import Mixture
from training.drawing.styles import STYLES
from training.examples import token_ids
from training.files import write_tensors
from training.loop import Logbook, Plan, generator, train
from training.networks import TINY, load_networks
from training.optimiser import Rates
from training.stages.latents import cached_latents
from training.stages.unet import NoisePrediction, NoiseSettings

log = logging.getLogger(__name__)

_UNTOUCHED = ("input_blocks.0.", "time_embed.", "out.", ".emb_layers.")
"""The ends of the network and what the timestep feeds: a style needs none of them."""

PLAN = Plan(steps=400, rates=Rates(matrix=4e-3, decay=0.0), warmup=20, average=0.98)

STYLED = Mixture(one=0.35, two=0.35, inside=0.05, several=0.05, scene=0.2)


@dataclass(frozen=True)
class LoraRecipe:
    """What, with a seed and a checkpoint, determines a LoRA. alpha equals the rank, so strength 1 is as trained."""

    rank: int = 4
    pictures: int = 600
    plan: Plan = PLAN
    mixture: Mixture = STYLED
    noise: NoiseSettings = field(default_factory=lambda: NoiseSettings(captions=16, draws=1, empty=0.1))


class Adapted(nn.Module):
    """A linear layer or convolution with a low-rank change added to it. Starts as the layer itself."""

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int, random: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.down: nn.Module
        self.up: nn.Module
        if isinstance(base, nn.Conv2d):
            size, stride, padding = base.kernel_size, base.stride, base.padding
            self.down = nn.Conv2d(base.in_channels, rank, size, stride, padding, bias=False)  # type: ignore[arg-type]
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(base.in_features, rank, bias=False)
            self.up = nn.Linear(rank, base.out_features, bias=False)
        with torch.no_grad():
            weight = self.down.weight
            assert isinstance(weight, Tensor)
            weight.normal_(std=weight[0].numel() ** -0.5, generator=random)
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, added: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """The layer's result with the change, plus `added`, in `dtype`, as the layers of the network take them."""
        change = self.up(self.down(x))
        changed: Tensor = self.base(x, change if added is None else change + added, dtype)
        return changed


def adapt(unet: nn.Module, rank: int, seed: int) -> None:
    """Put an Adapted in the place of every layer of the UNet that a style may change; freeze all else."""
    unet.requires_grad_(False)
    layers = [
        (name, module)
        for name, module in unet.named_modules()
        if type(module) in (Linear, GatedLinear, Conv2d) and not _untouched(name)
    ]
    for name, module in layers:
        assert isinstance(module, nn.Linear | nn.Conv2d)
        parent, _, own = name.rpartition(".")
        setattr(unet.get_submodule(parent), own, Adapted(module, rank, generator(seed, "lora", name)))


def _untouched(name: str) -> bool:
    return any(part in name if part.startswith(".") else name.startswith(part) for part in _UNTOUCHED)


def make_lora(
    style: str, checkpoint: Path, out: Path, *, recipe: LoraRecipe, seed: int, logbook: Logbook
) -> None:
    """Train a LoRA on pictures in one of STYLES and write it. Raises ValueError for a style that is not known."""
    if style not in STYLES:
        raise ValueError(f"no style is called {style!r}; there are: {', '.join(STYLES)}")
    torch.set_num_threads(1)
    networks = load_networks(checkpoint, TINY)
    networks.text.requires_grad_(False)
    with blockwise():
        latents = cached_latents(
            networks.vae,
            networks.tokenizer,
            seed=seed,
            count=recipe.pictures,
            mixture=recipe.mixture,
            folder=logbook.folder / f"{style}-latents",
            style=STYLES[style],
        )
        adapt(networks.unet, recipe.rank, seed)
        empty = token_ids(networks.tokenizer, [""])
        task = NoisePrediction(networks.unet, networks.text, latents, empty, seed=seed, settings=recipe.noise)
        weights = train(f"lora-{style}", task, recipe.plan, logbook)
    save_lora(weights, networks.unet.config, recipe.rank, out)
    log.info("wrote %s, %d bytes", out, out.stat().st_size)


def save_lora(weights: Mapping[str, Tensor], config: UNetConfig, rank: int, path: Path) -> None:
    """Write trained parameters (`unet.NAME.down.weight`, ...) in kohya's layout, float16."""
    theirs = {ours: name for name, ours in unet_modules(config).items()}
    tensors: dict[str, Tensor] = {}
    for key, value in weights.items():
        module, role, _ = key.removeprefix("unet.").rsplit(".", 2)
        name = "lora_unet_" + theirs[module].replace(".", "_")
        tensors[f"{name}.lora_{role}.weight"] = value.half()
        tensors[f"{name}.alpha"] = torch.tensor(float(rank), dtype=torch.float16)
    write_tensors(path, tensors, {"format": "pt", "ss_network_dim": str(rank), "ss_network_alpha": str(rank)})
