"""Small random checkpoints, written in every layout that is found in the wild."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.config import TextConfig, UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.text.text_encoder import TextEncoder
from diffusion.types import Weights
from tests.diffusion.reference import diffusers_unet, diffusers_vae, random_weights
from tests.diffusion.text_reference import transformers_text_model

MERGES = ("t h", "th e</w>", "c a", "ca t</w>")
VOCAB_SIZE = 512 + len(MERGES) + 2
UNET = UNetConfig(channels=(32, 32, 64, 64), attention=(True, True, True, False), blocks=1, context_dim=64)
VAE = VAEConfig(channels=(32, 32, 32, 64), blocks=1)
TEXT = TextConfig(vocab_size=VOCAB_SIZE, width=64, layers=2, num_heads=1, hidden=128, positions=16)
TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
FACTS = {"weft.facts": json.dumps({"tokenizer": {"merges": list(MERGES)}})}
"""All that shapes do not tell, where the rest is as in Stable Diffusion 1.x."""


@cache
def networks(unet: UNetConfig = UNET) -> tuple[Weights, Weights, Weights]:
    """Random UNet, text encoder and VAE under canonical keys, float32."""
    return (
        random_weights(lambda: UNet(unet), 1),
        random_weights(lambda: TextEncoder(TEXT), 2),
        random_weights(lambda: Autoencoder(VAE), 3),
    )


def original(dtype: torch.dtype = torch.float32, *, unet: UNetConfig = UNET) -> dict[str, Tensor]:
    """A checkpoint in the original key layout."""
    prefixes = ("model.diffusion_model.", "cond_stage_model.transformer.", "first_stage_model.")
    return {
        prefix + key: tensor.to(dtype)
        for prefix, weights in zip(prefixes, networks(unet), strict=True)
        for key, tensor in weights.items()
    }


def with_clip_vocabulary(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with as many tokens as CLIP has: a .ckpt has no header to carry merges. Takes the space of one token."""
    token = weights[TOKENS][:1].clone()
    return {**weights, TOKENS: token.expand(49408, -1)}


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """A .safetensors file with the facts of the networks above, or with `metadata`."""
    save_file(dict(tensors), path, dict(FACTS if metadata is None else metadata))
    return path


def full_training_state(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Weights among what training saves: the noise schedule, averaged weights, positions, a loss network."""
    averaged = {
        "model_ema." + key.removeprefix("model.").replace(".", ""): tensor + 1
        for key, tensor in weights.items()
        if key.startswith("model.diffusion_model.")
    }
    return {
        **weights,
        **averaged,
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(1000, dtype=torch.int32),
        "betas": torch.linspace(0, 1, 10),
        "alphas_cumprod_prev": torch.linspace(0, 1, 10),
        "posterior_log_variance_clipped": torch.linspace(0, 1, 10),
        "logvar": torch.zeros(10),
        "scale_factor": torch.tensor(0.18215),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(16)[None],
        "cond_stage_model.logit_scale": torch.tensor(4.6),
        "cond_stage_model.transformer.text_projection.weight": torch.zeros(64, 64),
        "first_stage_model.loss.logvar": torch.zeros(()),
        "first_stage_model.loss.discriminator.main.0.weight": torch.zeros(3, 3, 4, 4),
    }


def diffusers_folder(folder: Path, *, dtype: torch.dtype = torch.float32, **saving: Any) -> Path:
    """A model folder of the networks above, written by diffusers and transformers themselves."""
    unet, text, vae = networks()
    diffusers_unet(UNET, unet).to(dtype).save_pretrained(folder / "unet", **saving)
    diffusers_vae(VAE, vae).to(dtype).save_pretrained(folder / "vae", **saving)
    text_saving = {key: value for key, value in saving.items() if key == "variant"}
    transformers_text_model(TEXT, text).to(dtype).save_pretrained(folder / "text_encoder", **text_saving)
    write_tokenizer(folder / "tokenizer")
    write_json(
        folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "U"]}
    )
    write_json(folder / "scheduler" / "scheduler_config.json", {"prediction_type": "epsilon"})
    return folder


def write_tokenizer(folder: Path) -> None:
    """vocab.json and merges.txt of the merges above."""
    from diffusion.text.vocabulary import merges_vocabulary

    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(merges_vocabulary(MERGES).ids))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")


def write_json(path: Path, content: object) -> None:
    """A JSON file, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def edit_json(path: Path, **changes: object) -> None:
    """Change some entries of a JSON file."""
    write_json(path, json.loads(path.read_text()) | changes)


def assert_same(found: Weights, expected: Weights, dtype: torch.dtype = torch.float32) -> None:
    """The same keys and, bit for bit, the same numbers, kept in `dtype`."""
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found[key].dtype == dtype
        assert torch.equal(found[key], tensor.to(dtype)), key
