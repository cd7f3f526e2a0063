"""Attention: the one function that computes it, and the layer that projects what it needs."""

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


class CrossAttention(nn.Module):
    """Multi-head attention of tokens [B, N, C] to a context [B, M, context_dim], or to themselves.

    Whatever changes attention by where it stands (a patch on one block's attn1 or attn2) wraps this module.
    """

    def __init__(self, channels: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = Linear(channels, channels, bias=False)
        self.to_k = Linear(context_dim, channels, bias=False)
        self.to_v = Linear(context_dim, channels, bias=False)
        self.to_out = nn.Sequential(Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        return self.to_out(attention(self.to_q(x), self.to_k(source), self.to_v(source), self.num_heads))
