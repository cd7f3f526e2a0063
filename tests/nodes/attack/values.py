"""Values for the sockets of nodes: one that is good for each, and many of the right type that are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.types import Area, Cond, Conditioning, Image, Latent, Mask, Scope, Source
from tests.diffusion.checkpoint_samples import MERGES, UNET, original, write
from tests.nodes.toys import call

NAN, INF = float("nan"), float("inf")
SMALL = replace(UNET, norm_groups=16)
"""With two channels in a group, so that it can norm a single cell as the published ones do."""
FACTS = {
    "weft.facts": json.dumps(
        {"tokenizer": {"merges": list(MERGES)}, "unet": {"num_heads": SMALL.num_heads, "norm_groups": 16}}
    )
}
WIDTH = SMALL.context_dim


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def spoiled(values: Tensor, number: float = NAN) -> Tensor:
    """One number of them made NaN or infinite."""
    result = values.clone()
    result.view(-1)[-1] = number
    return result


def prompt(*, length: int = 77, width: int = WIDTH, batch: int = 1, **more: Any) -> Conditioning:
    return Conditioning((Cond(noise(batch, length, width), **more),))


def good(checkpoint: Checkpoint, more: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each type of socket, made by nodes where that is simplest."""
    model = checkpoint.model
    positive = prompt()
    return {
        "MODEL": model,
        "CLIP": checkpoint.clip,
        "VAE": checkpoint.vae,
        "IMAGE": Image(noise(1, 64, 64, 3)),
        "MASK": Mask((noise(1, 64, 64) > 0.5).float()),
        "LATENT": Latent(noise(1, 4, 8, 8)),
        "CONDITIONING": positive,
        "SIGMAS": torch.tensor([14.6, 3.0, 0.0]),
        "SAMPLER": call("KSamplerSelect", sampler_name="euler"),
        "NOISE": call("RandomNoise", noise_seed=1),
        "GUIDER": call("BasicGuider", model=model, conditioning=positive),
        "LATENT_OPERATION": call("LatentOperationTonemapReinhard"),
        "TIMESTEPS_RANGE": (0.2, 0.8),
        "HOOKS": call("CombineHooks2"),
        "HOOK_KEYFRAMES": call("CreateHookKeyframe"),
        "PROMPT_BATCH": call("CompVisPrompts", prompt="a cat", n_iter=1, n_samples=1)[0],
        **more,
    }


def images() -> dict[str, Any]:
    whole = noise(1, 64, 64, 3)
    return {
        "no pixels": noise(1, 0, 64, 3),
        "no columns": noise(1, 64, 0, 3),
        "no pictures": noise(0, 64, 64, 3),
        "one pixel": noise(1, 1, 1, 3),
        "a line": noise(1, 1, 4000, 3),
        "a column": noise(1, 4000, 1, 3),
        "grey": noise(1, 64, 64, 1),
        "two channels": noise(1, 64, 64, 2),
        "alpha": noise(1, 64, 64, 4),
        "no channels": noise(1, 64, 64, 0),
        "five channels": noise(1, 64, 64, 5),
        "not a batch": noise(64, 64, 3),
        "channels first": noise(1, 3, 64, 64),
        "NaN": spoiled(whole),
        "infinite": spoiled(whole, INF),
        "beyond white": whole * 1e30,
        "below black": whole - 1e30,
        "several": noise(3, 64, 64, 3),
        "odd": noise(1, 63, 61, 3),
        "black": torch.zeros(1, 64, 64, 3),
    }


def masks() -> dict[str, Any]:
    whole = noise(1, 64, 64)
    return {
        "no pixels": noise(1, 0, 64),
        "no masks": noise(0, 64, 64),
        "zero": torch.zeros(1, 64, 64),
        "ones": torch.ones(1, 64, 64),
        "one pixel": torch.ones(1, 1, 1),
        "another size": noise(1, 17, 250),
        "several": noise(3, 64, 64),
        "two dimensions": noise(64, 64),
        "one dimension": noise(64),
        "four dimensions": noise(1, 1, 64, 64),
        "channels": noise(1, 3, 64, 64),
        "NaN": spoiled(whole),
        "infinite": spoiled(whole, -INF),
        "large": whole * 1e30,
        "negative": whole - 5,
    }


def latents() -> dict[str, Any]:
    whole = noise(1, 4, 8, 8)
    return {
        "nine channels": Latent(noise(1, 9, 8, 8)),
        "sixteen channels": Latent(noise(1, 16, 8, 8)),
        "no channels": Latent(noise(1, 0, 8, 8)),
        "no samples": Latent(noise(0, 4, 8, 8)),
        "no cells": Latent(noise(1, 4, 0, 8)),
        "one cell": Latent(noise(1, 4, 1, 1)),
        "odd": Latent(noise(1, 4, 7, 5)),
        "a line": Latent(noise(1, 4, 1, 100)),
        "three dimensions": Latent(noise(4, 8, 8)),
        "five dimensions": Latent(noise(1, 4, 1, 8, 8)),
        "several": Latent(noise(3, 4, 8, 8)),
        "NaN": Latent(spoiled(whole)),
        "infinite": Latent(spoiled(whole, INF)),
        "large": Latent(whole * 1e30),
        "empty mask": Latent(whole, torch.zeros(1, 1, 8, 8)),
        "NaN mask": Latent(whole, torch.full((1, 1, 8, 8), NAN)),
        "no mask pixels": Latent(whole, noise(1, 1, 0, 8)),
        "flat mask": Latent(whole, noise(8, 8)),
        "several masks": Latent(whole, noise(5, 1, 8, 8)),
        "large mask": Latent(whole, noise(1, 1, 300, 7)),
        "short index": Latent(noise(3, 4, 8, 8), batch_index=(1,)),
        "negative index": Latent(whole, batch_index=(-5,)),
        "high index": Latent(whole, batch_index=(10**9,)),
    }


def conditionings() -> dict[str, Any]:
    whole = noise(1, 77, WIDTH)
    mask, nothing = noise(1, 8, 8), torch.zeros(1, 8, 8)
    return {
        "no prompts": Conditioning(()),
        "another width": prompt(width=768),
        "no width": prompt(width=0),
        "longer": prompt(length=154),
        "odd length": prompt(length=5),
        "no length": prompt(length=0),
        "several": prompt(batch=3),
        "no batch": prompt(batch=0),
        "NaN": Conditioning((Cond(spoiled(whole)),)),
        "infinite": Conditioning((Cond(spoiled(whole, INF)),)),
        "two dimensions": Conditioning((Cond(noise(77, WIDTH)),)),
        "odd pooled": prompt(pooled=noise(2, 5)),
        "many": Conditioning(tuple(Cond(whole) for _ in range(20))),
        "mixed lengths": Conditioning((Cond(whole), Cond(noise(1, 154, WIDTH)))),
        "mixed widths": Conditioning((Cond(whole), Cond(noise(1, 77, 768)))),
        "area outside": prompt(scope=Scope(Area(64, 64, 500, 500))),
        "area of nothing": prompt(scope=Scope(Area(0, 0, 0, 0))),
        "share of nothing": prompt(scope=Scope(Area(0.0, 0.0, 0.5, 0.5, shares=True))),
        "empty mask": prompt(scope=Scope(mask=nothing)),
        "NaN mask": prompt(scope=Scope(mask=spoiled(mask))),
        "empty box": prompt(scope=Scope(mask=nothing, crop_to_mask=True)),
        "no strength": prompt(scope=Scope(strength=0.0)),
        "never": prompt(scope=Scope(start=0.6, end=0.2)),
        "source": prompt(source=Source(noise(1, 4, 8, 8), noise(1, 1, 64, 64))),
        "large source": prompt(source=Source(noise(2, 4, 9, 30))),
        "NaN source": prompt(source=Source(spoiled(noise(1, 4, 8, 8)))),
    }


def sigmas() -> dict[str, Any]:
    return {
        "none": torch.zeros(0),
        "one": torch.tensor([14.6]),
        "ascending": torch.tensor([0.1, 3.0, 14.6]),
        "up and down": torch.tensor([14.6, 1.0, 9.0, 0.0]),
        "NaN": torch.tensor([14.6, NAN, 0.0]),
        "infinite": torch.tensor([INF, 3.0, 0.0]),
        "negative": torch.tensor([14.6, -3.0, 0.0]),
        "zeros": torch.zeros(3),
        "zero within": torch.tensor([14.6, 0.0, 3.0, 0.0]),
        "the same": torch.tensor([3.0, 3.0, 3.0, 0.0]),
        "large": torch.tensor([1e38, 1e37, 0.0]),
        "small": torch.tensor([1e-38, 1e-40, 0.0]),
        "not to zero": torch.tensor([14.6, 3.0]),
        "two dimensions": torch.tensor([[14.6, 3.0, 0.0]]),
        "a number": torch.tensor(3.0),
    }


def models(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:

    model = checkpoint.model
    paths = {
        "nine channels": write(
            folder / "nine.safetensors", original(unet=replace(SMALL, in_channels=9)), FACTS
        ),
        "eight channels": write(
            folder / "eight.safetensors", original(unet=replace(SMALL, in_channels=8)), FACTS
        ),
        "another size": write(
            folder / "narrow.safetensors",
            original(unet=replace(SMALL, channels=(32, 32, 32, 32))),
            FACTS,
        ),
    }
    others = {name: load_checkpoint(path, model.runtime).model for name, path in paths.items()}
    nan = {key: torch.full_like(tensor, NAN) for key, tensor in model.weights.items()}
    return others | {"NaN": replace(model, weights=nan)}


HOSTILE: Mapping[str, Callable[[], dict[str, Any]]] = {
    "IMAGE": cache(images),
    "MASK": cache(masks),
    "LATENT": cache(latents),
    "CONDITIONING": cache(conditionings),
    "SIGMAS": cache(sigmas),
}
