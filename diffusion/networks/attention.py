"""Attention: the one function that computes it, and the layer that projects what it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks.layers import Linear
from diffusion.networks.native_attention import kernel_for


def attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """Scaled dot-product attention, softmax(q k^T / sqrt(D)) v for each head (Vaswani et al. 2017, eq. 1).

    q [B, N, H*D], k [B, M, H*D] and v [B, M, H*E], as linear layers leave them: token-major, heads side by
    side. Returns [B, N, H*E] in the same dtype. Computed by a native kernel where one fits, else by PyTorch.
    """
    if kernel := kernel_for(q, k, v, num_heads):
        return kernel(q, k, v, num_heads)
    q, k, v = (tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2) for tokens in (q, k, v))  # [B, H, N, D]
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt as a UNet's cross-attention reads it, [B, T, context_dim].

    kept: the keys and values that layers make of it, where they were made beforehand.
    """

    context: Tensor
    kept: Mapping[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)


class CrossAttention(nn.Module):
    """Multi-head attention of tokens [B, N, C] to a context [B, T, context_dim], or to themselves."""

    def __init__(self, channels: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = Linear(channels, channels, bias=False)
        self.to_k = Linear(context_dim, channels, bias=False)
        self.to_v = Linear(context_dim, channels, bias=False)
        self.to_out = nn.Sequential(Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None, for_values: Tensor | None = None) -> Tensor:
        """Keys are made of `context`, values of `for_values` or else of the same."""
        keys = x if context is None else context
        values = keys if for_values is None else for_values
        return self._attend(x, self.to_k(keys), self.to_v(values))

    def to_prompt(self, x: Tensor, prompt: Prompt) -> Tensor:
        """Attention to a prompt, by the keys and values kept of it if there are any."""
        kept = prompt.kept.get(self)
        return self(x, prompt.context) if kept is None else self._attend(x, *kept)

    def keys_and_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """What `to_prompt` makes of a context; worth keeping from step to step."""
        return self.to_k(context), self.to_v(context)

    def _attend(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.to_out(attention(self.to_q(x), k, v, self.num_heads))
