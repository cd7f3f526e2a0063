"""Teaches the text encoder by asking it for the picture: from its states a small reader must tell a 16 x 16 thumbnail.

A causal text encoder beside a small UNet never learns through the diffusion loss which of two things is where;
asked directly, it knows after a few hundred steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks.attention import attention
from diffusion.text.text_encoder import TextEncoder
from diffusion.text.tokenizer import Tokenizer
from training.drawing import Mixture
from training.examples import THUMBNAIL, as_thumbnails, example, token_ids

SHORT = 40
"""Only this many tokens are read for the first three quarters of the steps; hardly a caption is longer."""


class Reader(nn.Module):
    """One cross-attention from a query for each place of the thumbnail, and a small network to a colour."""

    def __init__(self, width: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.queries_embedding = nn.Parameter(torch.randn(THUMBNAIL**2, width) * 0.5)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width)
        self.conv_out = nn.Linear(width, 3)
        self.num_heads = num_heads

    def forward(self, states: Tensor) -> Tensor:
        """Text states [B, T, C] to thumbnails [B, 256, 3]."""
        queries = self.queries_embedding.expand(len(states), -1, -1).to(states.dtype)
        seen = self.to_out(attention(queries, self.to_k(states), self.to_v(states), self.num_heads))
        return self.conv_out(F.gelu(self.hidden(self.norm(seen + queries))))


class Reading:
    """The task of the text stage. network has the parts `text` and `reader`."""

    def __init__(
        self, text: TextEncoder, tokenizer: Tokenizer, *, seed: int, steps: int, count: int, mixture: Mixture
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            reader = Reader(text.config.width)
        self.network: nn.Module = nn.ModuleDict({"text": text, "reader": reader})
        self._text, self._reader, self._tokenizer = text, reader, tokenizer
        self._seed, self._steps, self._count, self._mixture = seed, steps, count, mixture

    def loss(self, step: int, part: int) -> Tensor:
        """The squared error of thumbnails read from freshly drawn captions."""
        first = (2 * step + part) * self._count
        drawn = [
            example(self._seed, "read", number, mixture=self._mixture, scale=1)
            for number in range(first, first + self._count)
        ]
        ids = token_ids(self._tokenizer, [one.caption for one in drawn])
        if step < 0.75 * self._steps:
            ids = ids[:, :SHORT]
        with torch.autocast("cpu", torch.bfloat16):
            read = self._reader(self._text(ids).last)
        return F.mse_loss(read.float(), as_thumbnails([one.picture for one in drawn]))
