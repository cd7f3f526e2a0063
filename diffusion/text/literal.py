"""Prompts read as the original scripts do: every letter is text, and what is longer than a chunk is left out."""

from collections.abc import Sequence

import torch

from diffusion.hooks.text import encoded
from diffusion.model import Clip
from diffusion.text.prompt import Part, pack_chunks
from diffusion.types import Cond, Conditioning


@torch.no_grad()
def encode_literally(clip: Clip, texts: Sequence[str]) -> Conditioning:
    """One Cond for a batch, a prompt for each picture: embedding [B, 77, C], pooled [B, C], float32, on the CPU.

    Brackets and colons weigh nothing. Raises ValueError for no text at all.
    """
    if not texts:
        raise ValueError("There is no prompt to encode.")
    tokenizer, length = clip.tokenizer, clip.config.positions
    parts = [Part(tokenizer.encode(text)[: length - 2]) for text in texts]
    chunks = [pack_chunks([part], tokenizer, length=length)[0] for part in parts]
    ids = torch.tensor([[token.id for token in chunk] for chunk in chunks])  # [B, T]

    def read(clip: Clip) -> Cond:
        encoder = clip.runtime.text_encoder(clip)
        states = encoder(ids.to(clip.runtime.placement.device), clip.layer, end_token=tokenizer.end)
        hidden, pooled = (values.to("cpu", torch.float32) for values in (states.hidden, states.pooled))
        return Cond(hidden, pooled)

    return Conditioning(encoded(clip, read))
