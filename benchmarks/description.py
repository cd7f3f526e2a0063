"""A checkpoint's parts as diffusers describes them: the JSON files of its folders, and the tokenizer's, no weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusion.checkpoints.parts import Checkpoint


def diffusers_description(checkpoint: Path) -> dict[str, str]:
    """The files of such a folder but for its index: name to text."""
    from diffusion.checkpoints.checkpoint import load_checkpoint
    from diffusion.runtime import Runtime

    loaded = load_checkpoint(checkpoint, Runtime())
    configs: Mapping[str, Mapping[str, Any]] = {
        "unet/config.json": _unet_config(loaded),
        "vae/config.json": _vae_config(loaded),
        "text_encoder/config.json": _text_config(loaded),
        "tokenizer/tokenizer_config.json": _TOKENIZER,
        "scheduler/scheduler_config.json": _SCHEDULER,
    }
    return {name: json.dumps(config) for name, config in configs.items()} | _tokenizer_files(checkpoint)


def _tokenizer_files(checkpoint: Path) -> dict[str, str]:
    from diffusion.checkpoints.facts import facts_from_metadata
    from diffusion.files.weight_files import read_weights
    from diffusion.text.vocabulary import clip_vocabulary, merges_vocabulary

    merges = facts_from_metadata(checkpoint, read_weights(checkpoint).metadata).merges
    vocabulary = clip_vocabulary() if merges is None else merges_vocabulary(merges)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in vocabulary.merges), ""]
    return {
        "tokenizer/vocab.json": json.dumps(dict(vocabulary.ids)),
        "tokenizer/merges.txt": "\n".join(lines),
    }


def _unet_config(loaded: Checkpoint) -> dict[str, Any]:
    config = loaded.model.config
    names = ["CrossAttnDownBlock2D" if attended else "DownBlock2D" for attended in config.attention]
    return {
        "_class_name": "UNet2DConditionModel",
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "down_block_types": names,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(names)],
        "block_out_channels": config.channels,
        "layers_per_block": config.blocks,
        "cross_attention_dim": config.context_dim,
        "attention_head_dim": config.num_heads,  # diffusers' name for the number of heads
        "norm_num_groups": config.norm_groups,
        "sample_size": 64,
    }


def _vae_config(loaded: Checkpoint) -> dict[str, Any]:
    from diffusion.config import VAEConfig

    config = loaded.vae.config
    assert isinstance(config, VAEConfig)
    return {
        "_class_name": "AutoencoderKL",
        "down_block_types": ["DownEncoderBlock2D"] * len(config.channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(config.channels),
        "block_out_channels": config.channels,
        "layers_per_block": config.blocks,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.norm_groups,
        "scaling_factor": 0.18215,
        "sample_size": 512,
    }


def _text_config(loaded: Checkpoint) -> dict[str, Any]:
    config, tokenizer = loaded.clip.config, loaded.clip.tokenizer
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.num_heads,
        "max_position_embeddings": config.positions,
        "hidden_act": config.activation,
        "bos_token_id": tokenizer.start,
        "eos_token_id": tokenizer.end,
        "pad_token_id": tokenizer.end,
    }


_TOKENIZER: Mapping[str, Any] = {
    "tokenizer_class": "CLIPTokenizer",
    "model_max_length": 77,
    "bos_token": "<|startoftext|>",
    **dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>"),
}
_SCHEDULER: Mapping[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "linspace",
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
MODEL_INDEX = json.dumps(
    {
        "_class_name": "StableDiffusionPipeline",
        "requires_safety_checker": False,
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
)
"""model_index.json: what the parts are."""
