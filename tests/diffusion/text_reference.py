"""The text encoder by another hand: transformers' CLIPTextModel around our weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.config import TextConfig
from diffusion.text.text_encoder import TextEncoder, TextStates
from diffusion.types import Weights
from tests.diffusion.reference import random_weights

PREFIX = "text_model."


def text_weights(config: TextConfig, seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a text encoder, under canonical keys."""
    return random_weights(lambda: TextEncoder(config), seed)


def transformers_text_model(config: TextConfig, weights: Weights) -> Any:
    """A CLIPTextModel of these sizes around these very tensors."""
    from transformers import CLIPTextConfig, CLIPTextModel

    theirs = CLIPTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.num_heads,
        max_position_embeddings=config.positions,
        hidden_act=config.activation,
        bos_token_id=config.vocab_size - 2,
        eos_token_id=config.vocab_size - 1,
        pad_token_id=config.vocab_size - 1,
    )
    model = CLIPTextModel(theirs)
    prefixed = any(key.startswith(PREFIX) for key in model.state_dict())  # version 5 has dropped the prefix
    named = {key if prefixed else key.removeprefix(PREFIX): tensor for key, tensor in weights.items()}
    model.load_state_dict(named, strict=True, assign=True)
    return model.eval()


@torch.no_grad()
def reference_states(model: Any, weights: Weights, ids: Tensor, layer: int = -1) -> TextStates:
    """What transformers computes, the chosen layer's output normed as the last one's is."""
    outputs = model(ids, output_hidden_states=True)
    chosen = outputs.hidden_states[layer]
    scale, shift = (weights[f"{PREFIX}final_layer_norm.{name}"] for name in ("weight", "bias"))
    hidden = F.layer_norm(chosen, chosen.shape[-1:], scale, shift, eps=1e-5)
    return TextStates(outputs.last_hidden_state, hidden, outputs.pooler_output)
