"""The UNet's parts: residual block, spatial transformer, resampling, timestep embedding.

Every part is called as part(x, signals), so that a stage is a plain list of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn

from diffusion.networks import upsampling
from diffusion.networks.attachments import (
    NO_HOOKS,
    AroundCrossAttention,
    AroundSelfAttention,
    CrossAttend,
    Hooks,
    Place,
    SelfAttend,
    Sources,
    Spot,
)
from diffusion.networks.attention import CrossAttention, Prompt
from diffusion.networks.layers import Conv2d, GatedLinear, GroupNorm, LayerNorm, Linear, NormSiLU


@dataclass(frozen=True, eq=False)
class Signals:
    """What a UNet's parts are given beside the picture; each reads what it needs.

    emb: the timestep's embedding, [B or 1, E]. prompt: what cross-attention reads. place: the stage that is running.
    size: (height, width) that an Upsample must reach, that of the next skip connection; None doubles.
    """

    emb: Tensor
    prompt: Prompt
    place: Place
    size: tuple[int, int] | None = None
    hooks: Hooks = NO_HOOKS

    @property
    def dtype(self) -> torch.dtype:
        """What the layers compute in, and what pictures come in to a stage and leave it."""
        return self.emb.dtype

    @property
    def stream(self) -> torch.dtype:
        """What a picture travels in within the stage: float32 in output stages of bfloat16 layers on a processor.

        What the parts add to it is then rounded once, not their sum each time. These stages are the nearest to the
        result: their sums were a seventh of the error of a guided step, and are 3 % of its time.
        """
        wide = self.dtype == torch.bfloat16 and self.emb.device.type == "cpu" and self.place.part == "output"
        return torch.float32 if wide else self.dtype


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Timesteps [B] (integer or not) as cosines, then sines, of geometric frequencies: [B, width] float32.

    The transformer's position code (Vaswani et al. 2017, section 3.5) with its halves apart.
    """
    half = width // 2
    places = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10_000) / half * places)  # [B, width/2]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Stage(nn.Sequential):
    """Parts in a row between two skip connections. Their places are their names in checkpoints."""

    def forward(self, x: Tensor, signals: Signals) -> Tensor:  # type: ignore[override]
        for part in self:
            x = part(x, signals)
        return x.to(signals.dtype)


class InputConv(Conv2d):
    """The first convolution, [B, in_channels, h, w] to [B, channels, h, w]."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 3, padding=1)

    def forward(self, x: Tensor, signals: Signals) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class ResBlock(nn.Module):
    """Two convolutions, the timestep between them, a shortcut. [B, C, h, w] to [B, out_channels, h, w] in the stream's
    dtype."""

    def __init__(self, channels: int, out_channels: int, *, emb_dim: int, norm_groups: int) -> None:
        super().__init__()
        # The identities hold the places of activations and dropout, which checkpoints count in their names.
        self.in_layers = nn.Sequential(
            NormSiLU(norm_groups, channels), nn.Identity(), Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), Linear(emb_dim, out_channels))
        self.out_layers = nn.Sequential(
            NormSiLU(norm_groups, out_channels),
            nn.Identity(),
            nn.Identity(),
            Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection = (
            nn.Identity() if channels == out_channels else Conv2d(channels, out_channels, 1)
        )

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        norm, *_, convolution = self.out_layers
        h = norm(self.in_layers(x), self.emb_layers(signals.emb))
        same = isinstance(self.skip_connection, nn.Identity)
        shortcut = x if same else self.skip_connection(x, dtype=signals.stream)
        return convolution(h, shortcut, signals.stream)


class GEGLU(nn.Module):
    """A linear layer, one half gating the other through GELU (Shazeer 2020). [..., C] to [..., hidden]."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.proj = GatedLinear(channels, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


_NEAR = 640 << 10
"""Numbers of the input of a feed-forward network that are worked on together: between its layers they are 12 times as
many. Half and twice as many are as fast; all at once, a large picture takes half as long again."""


class FeedForward(nn.Module):
    """The transformer's per-token network, four times as wide inside. [B, N, C] in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 4 * channels
        self.net = nn.Sequential(GEGLU(channels, hidden), nn.Identity(), Linear(hidden, channels))

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """The network over x, plus `added`, in x's dtype. Many tokens go a part at a time, so that what lies between
        its two layers stays in the near caches."""
        gated, _, narrow = self.net
        if torch.compiler.is_compiling() or x.device.type != "cpu" or x.numel() <= _NEAR:
            return narrow(gated(x), added, x.dtype)
        tokens = max(_NEAR // x.shape[-1], 1)
        parts = zip(x.flatten(0, -2).split(tokens), added.flatten(0, -2).split(tokens), strict=True)
        return torch.cat([narrow(gated(part), onto, x.dtype) for part, onto in parts]).view(x.shape)


class TransformerBlock(nn.Module):
    """Self-attention, attention to the prompt, feed-forward, each on normed tokens and added to them."""

    def __init__(self, channels: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels)
        self.attn1 = CrossAttention(channels, channels, num_heads)
        self.norm2 = LayerNorm(channels)
        self.attn2 = CrossAttention(channels, context_dim, num_heads)
        self.norm3 = LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, tokens: Tensor, signals: Signals, size: tuple[int, int]) -> Tensor:
        """Tokens [B, N, C] of a picture of this size, N = height * width, in the stream's dtype. They come back once
        for each prompt, in the layers'."""
        attended = self._self_attention(self.norm1(tokens), signals, size)
        tokens, normed = self.norm2.of_sum(tokens, attended)
        rows = len(signals.prompt.context)
        attended = self._cross_attention(for_all(normed, rows), signals, size)
        tokens, normed = self.norm3.of_sum(for_all(tokens, rows), attended)
        return self.ff(normed, tokens)

    def _self_attention(self, tokens: Tensor, signals: Signals, size: tuple[int, int]) -> Tensor:
        attend: SelfAttend = self.attn1
        if sources := signals.hooks.sources:
            attend = partial(_attend_from, sources, Spot(signals.place, size, self.attn1))
        for around in reversed(signals.hooks.self_attention):
            attend = partial(_around_self, around, attend, Spot(signals.place, size, self.attn1))
        return attend(tokens)

    def _cross_attention(self, tokens: Tensor, signals: Signals, size: tuple[int, int]) -> Tensor:
        if not signals.hooks.cross_attention and not signals.hooks.sources:
            return self.attn2.to_prompt(tokens, signals.prompt)
        attend: CrossAttend = self.attn2
        if sources := signals.hooks.sources:
            attend = partial(_attend_from, sources, Spot(signals.place, size, self.attn2))
        for around in reversed(signals.hooks.cross_attention):
            attend = partial(_around_cross, around, attend, Spot(signals.place, size, self.attn2))
        return attend(tokens, signals.prompt.context, signals.prompt.context)


def _attend_from(
    sources: Sequence[Sources],
    spot: Spot,
    tokens: Tensor,
    keys: Tensor | None = None,
    values: Tensor | None = None,
) -> Tensor:
    """Attention of tokens to what `sources` make of keys and values, or else of the tokens."""
    keys = tokens if keys is None else keys
    values = keys if values is None else values
    for source in sources:
        keys, values = source(keys, values, spot)
    return spot.layer(tokens, keys, values)


def _around_self(around: AroundSelfAttention, attend: SelfAttend, spot: Spot, tokens: Tensor) -> Tensor:
    return around(attend, tokens, spot)


def _around_cross(
    around: AroundCrossAttention,
    attend: CrossAttend,
    spot: Spot,
    tokens: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    return around(attend, tokens, keys, values, spot)


def for_all(x: Tensor, rows: int) -> Tensor:
    """x [B, ...] repeated to `rows` rows, a multiple of B: what was the same for every prompt so far parts here."""
    return x if len(x) == rows else torch.cat([x] * (rows // len(x)))  # unlike repeat, keeps channels-last


class SpatialTransformer(nn.Module):
    """The picture as tokens through a transformer block, added to the picture. [B, C, h, w] in the stream's dtype, to
    the same in the layers'."""

    def __init__(self, channels: int, *, context_dim: int, num_heads: int, norm_groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context_dim, num_heads)])
        self.proj_out = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        height, width = x.shape[-2:]
        tokens = rearrange(self.proj_in(self.norm(x), dtype=signals.stream), "b c h w -> b (h w) c")
        for block in self.transformer_blocks:
            tokens = block(tokens, signals, (height, width))
        picture = rearrange(tokens, "b (h w) c -> b c h w", h=height, w=width)
        return self.proj_out(picture, for_all(x, len(tokens)), signals.dtype)


class Downsample(nn.Module):
    """A strided convolution. [B, C, h, w] to [B, C, ceil(h/2), ceil(w/2)]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        return self.op(x)


class Upsample(upsampling.Upsample):
    """Enlarges [B, C, h, w] to the size that the signals ask for."""

    def forward(self, x: Tensor, signals: Signals) -> Tensor:  # type: ignore[override]
        return super().forward(x.to(signals.dtype), signals.size)
