"""Prompt to conditioning: tokenise, run the text encoder, apply the weights of `(word:1.2)`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion.model import Clip
from diffusion.text.prompt import Chunk, empty_chunk, pack_chunks, prompt_parts
from diffusion.types import Cond, Conditioning


@torch.no_grad()
def encode(clip: Clip, text: str) -> Conditioning:
    """What the UNet is told by `text`: one Cond, embedding [1, 77 n, C] and pooled [1, C], float32, on the CPU.

    Prompts longer than a chunk become n chunks, encoded apart and joined; pooled is the first one's. A token of weight
    w has the states e + w (z - e), where z are its own and e are those of an empty prompt in the same place, as in
    ComfyUI; pooled is not weighted. The states are those of layer `clip.layer`, after the final norm.

    Raises ValueError for a prompt that names an embedding, for a layer the encoder does not have, for a tokenizer with
    more tokens than the encoder, and for weights so large that the states overflow.
    """
    _check_no_embedding(text)
    tokenizer, length = clip.tokenizer, clip.config.positions
    chunks = pack_chunks(prompt_parts(text, tokenizer), tokenizer, length=length)
    weights = torch.tensor([[token.weight for token in chunk] for chunk in chunks])  # [n, T]
    weighted = bool((weights != 1).any())
    ids = _ids([*chunks, empty_chunk(tokenizer, length=length)] if weighted else chunks, clip)

    encoder = clip.runtime.text_encoder(clip)
    states = encoder(ids.to(clip.runtime.placement.device), clip.layer, end_token=tokenizer.end)
    hidden = states.hidden.to("cpu", torch.float32)  # [n or n + 1, T, C]
    if weighted:
        hidden = _weighted(hidden[:-1], hidden[-1], weights)
        if not torch.isfinite(hidden).all():
            raise ValueError(
                f"the emphasis in this prompt is too strong: a part of it weighs {float(weights.abs().max()):g}; "
                "take out brackets, or write a weight such as (word:1.2)"
            )
    return Conditioning((Cond(hidden.flatten(0, 1)[None], states.pooled[:1].to("cpu", torch.float32)),))


def _check_no_embedding(text: str) -> None:
    """Elsewhere `embedding:name` stands for a textual inversion; encoded as plain words it would mean nothing."""
    named = re.search(r"\bembedding:\S*", text)
    if named:
        raise ValueError(
            f"this prompt names an embedding ({named[0][:80]}), which Weft cannot use yet; leave it out"
        )


def _ids(chunks: Sequence[Chunk], clip: Clip) -> Tensor:
    """The ids of `chunks`, [n, T]."""
    ids = torch.tensor([[token.id for token in chunk] for chunk in chunks])
    highest = int(ids.max())
    if highest >= clip.config.vocab_size:
        raise ValueError(
            f"the tokenizer made token {highest} of this prompt, but the text encoder only has "
            f"{clip.config.vocab_size} tokens; use the tokenizer that belongs to these weights"
        )
    return ids


def _weighted(states: Tensor, empty: Tensor, weights: Tensor) -> Tensor:
    """`states` [n, T, C] drawn away from `empty` [T, C], or towards it, by `weights` [n, T]."""
    scaled = empty + (states - empty) * weights[..., None]
    return torch.where(
        weights[..., None] == 1, states, scaled
    )  # rounding aside, the same where the weight is 1
