"""CLIP's text transformer (Radford et al. 2021): token ids to the states that condition the UNet.

Attribute names are the canonical keys: those of transformers' CLIPTextModel with its `text_model.` prefix.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.config import TextConfig
from diffusion.networks.layers import Linear

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True, eq=False)
class TextStates:
    """What the encoder makes of B token sequences of length T.

    last: [B, T, C], the last layer's output after the final norm.
    hidden: [B, T, C], the chosen layer's output after the final norm; it is `last` when that is the last one.
    pooled: [B, C], `last` at each sequence's first end token.
    """

    last: Tensor
    hidden: Tensor
    pooled: Tensor


@dataclass(frozen=True, eq=False)
class Inserted:
    """Vectors [n, C] that stand in place of n tokens' own, in the order of places [B, T], true where one stands."""

    places: Tensor
    vectors: Tensor


class TextEncoder(nn.Module):
    """A CLIP text encoder of any size. `config.activation` is one of ACTIVATIONS."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = TextTransformer(config)

    def forward(
        self,
        ids: Tensor,
        layer: int = -1,
        *,
        embeddings: Tensor | None = None,
        inserted: Inserted | None = None,
        end_token: int | None = None,
    ) -> TextStates:
        """States of `ids`, [B, T] integers, T at most `config.positions`.

        layer: which layer's states to return as `hidden`, from -1 (the last) to -layers.
        embeddings: [B, T, C], used instead of the vectors `ids` stand for; `ids` then only locate the end.
        inserted: vectors for some of the places, where `ids` then count for nothing else.
        end_token: the id that ends a sequence; by default the vocabulary's last, as in CLIP.

        Raises ValueError for a layer the encoder does not have and for sequences it has no positions for.
        """
        depth = self.config.layers
        if not -depth <= layer <= -1:
            raise ValueError(
                f"layer {layer} does not exist: this text encoder has {depth} layers, "
                f"so choose one from -{depth} to -1 (the last)"
            )
        if ids.shape[1] > self.config.positions:
            raise ValueError(
                f"a sequence of {ids.shape[1]} tokens is too long: this text encoder has "
                f"{self.config.positions} positions; split the prompt into chunks of that length"
            )
        last, hidden = self.text_model(ids, depth + layer, embeddings, inserted)
        end = self.config.vocab_size - 1 if end_token is None else end_token
        ends = (ids == end).int().argmax(dim=-1)  # the first end token: padding repeats it
        pooled = last[torch.arange(len(ids), device=last.device), ends.to(last.device)]
        return TextStates(last, hidden, pooled)


class TextTransformer(nn.Module):
    """Embeddings, encoder and final norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(
        self, ids: Tensor, chosen: int, embeddings: Tensor | None, inserted: Inserted | None
    ) -> tuple[Tensor, Tensor]:
        """The last layer's and layer number `chosen`'s states, both [B, T, C] and normed."""
        last, hidden = self.encoder(self.embeddings(ids, embeddings, inserted), chosen)
        normed = self.final_layer_norm(last)
        return normed, normed if hidden is last else self.final_layer_norm(hidden)


class Embeddings(nn.Module):
    """Token vectors plus learned position vectors."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.position_embedding = nn.Embedding(config.positions, config.width)

    def forward(
        self, ids: Tensor, embeddings: Tensor | None = None, inserted: Inserted | None = None
    ) -> Tensor:
        """[B, T] ids, or [B, T, C] vectors that stand for them, to [B, T, C]."""
        tokens: Tensor = self.token_embedding(ids) if embeddings is None else embeddings
        if inserted is not None:
            tokens = tokens.index_put((inserted.places.to(tokens.device),), inserted.vectors.to(tokens))
        return tokens + self.position_embedding.weight[: ids.shape[1]]


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(self, x: Tensor, chosen: int) -> tuple[Tensor, Tensor]:
        """The output of the last layer and of layer number `chosen`, both [B, T, C]."""
        hidden = x
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number == chosen:
                hidden = x
        return x, hidden


class EncoderLayer(nn.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.self_attn = CausalAttention(config.width, config.num_heads)
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] to [B, T, C]."""
        x = x + self.self_attn(self.layer_norm1(x))
        mixed: Tensor = x + self.mlp(self.layer_norm2(x))
        return mixed


class CausalAttention(nn.Module):
    """Self-attention in which a token sees itself and those before it."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"a text encoder of width {width} can't be split into {num_heads} heads")
        self.num_heads = num_heads
        self.k_proj = Linear(width, width)
        self.v_proj = Linear(width, width)
        self.q_proj = Linear(width, width)
        self.out_proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] to [B, T, C]."""
        q, k, v = (
            projection(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, T, C / heads]
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed: Tensor = self.out_proj(seen.transpose(1, 2).flatten(-2))
        return mixed


class MLP(nn.Module):
    """Two linear maps with the activation between."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        if config.activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {config.activation!r}: expected one of {', '.join(ACTIVATIONS)}"
            )
        self.activation = config.activation
        self.fc1 = Linear(config.width, config.hidden)
        self.fc2 = Linear(config.hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] to [B, T, C]."""
        x = self.fc1(x)
        x = quick_gelu(x) if self.activation == "quick_gelu" else F.gelu(x)
        mixed: Tensor = self.fc2(x)
        return mixed


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), GELU as CLIP was trained with (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)
