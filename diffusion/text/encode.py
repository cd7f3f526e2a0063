"""Prompt to conditioning: tokenise, run the text encoder, apply the weights of `(word:1.2)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion.hooks.text import encoded
from diffusion.model import Clip
from diffusion.text.embeddings import FindEmbedding, no_embeddings
from diffusion.text.prompt import Chunk, Part, empty_chunk, pack_chunks, prompt_parts
from diffusion.text.text_encoder import Inserted
from diffusion.types import Cond, Conditioning


def encode(clip: Clip, text: str, find: FindEmbedding = no_embeddings) -> Conditioning:
    """What the UNet is told by `text`: one Cond, embedding [1, 77 n, C] and pooled [1, C], float32, on the CPU.

    From an encoder whose hooks change along the schedule, one for each part of it.
    Prompts longer than a chunk become n chunks, encoded apart and joined; pooled is the first one's. A token of weight
    w has the states e + w (z - e), where z are its own and e are those of an empty prompt in the same place, as in
    ComfyUI; pooled is not weighted. The states are those of layer `clip.layer`, after the final norm.
    find: gives the embeddings that the prompt may name.

    Raises ValueError for an embedding that is not there or was made for another encoder, for a layer the encoder does
    not have, for a tokenizer with more tokens than the encoder, and for weights so large that the states overflow.
    """
    parts = prompt_parts(text, clip.tokenizer, fitting(clip, find))
    return Conditioning(encoded(clip, lambda encoder: encode_parts(encoder, parts)))


def fitting(clip: Clip, find: FindEmbedding) -> FindEmbedding:
    """`find`, with a ValueError for vectors that this encoder cannot read."""

    def checked(name: str) -> Tensor | None:
        vectors = find(name)
        if vectors is not None and vectors.shape[-1] != clip.config.width:
            raise ValueError(
                f"the embedding {name!r} has vectors of {vectors.shape[-1]} numbers, this text encoder reads "
                f"{clip.config.width}: it was made for another kind of model; use one for Stable Diffusion 1.x"
            )
        return vectors

    return checked


@torch.no_grad()
def encode_parts(clip: Clip, parts: Sequence[Part]) -> Cond:
    """The same for a prompt that has been read."""
    tokenizer, length = clip.tokenizer, clip.config.positions
    chunks = pack_chunks(parts, tokenizer, length=length)
    weights = torch.tensor([[token.weight for token in chunk] for chunk in chunks])  # [n, T]
    weighted = bool((weights != 1).any())
    asked = (*chunks, empty_chunk(tokenizer, length=length)) if weighted else chunks
    ids = _ids(asked, clip)

    encoder = clip.runtime.text_encoder(clip)
    states = encoder(
        ids.to(clip.runtime.placement.device), clip.layer, inserted=_inserted(asked), end_token=tokenizer.end
    )
    hidden = states.hidden.to("cpu", torch.float32)  # [n or n + 1, T, C]
    if weighted:
        hidden = _weighted(hidden[:-1], hidden[-1], weights)
        if not torch.isfinite(hidden).all():
            raise ValueError(
                f"the emphasis in this prompt is too strong: a part of it weighs {float(weights.abs().max()):g}; "
                "take out brackets, or write a weight such as (word:1.2)"
            )
    return Cond(hidden.flatten(0, 1)[None], states.pooled[:1].to("cpu", torch.float32))


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


def _inserted(chunks: Sequence[Chunk]) -> Inserted | None:
    """The vectors of embeddings, if there are any."""
    vectors = [token.vector for chunk in chunks for token in chunk if token.vector is not None]
    if not vectors:
        return None
    places = torch.tensor([[token.vector is not None for token in chunk] for chunk in chunks])
    return Inserted(places, torch.stack(vectors))


def _weighted(states: Tensor, empty: Tensor, weights: Tensor) -> Tensor:
    """`states` [n, T, C] drawn away from `empty` [T, C], or towards it, by `weights` [n, T]."""
    scaled = empty + (states - empty) * weights[..., None]
    return torch.where(
        weights[..., None] == 1, states, scaled
    )  # rounding aside, the same where the weight is 1
