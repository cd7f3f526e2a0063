"""CLIP's vision transformer (Radford et al. 2021; Dosovitskiy et al. 2021): pictures to one vector each.

Attribute names are those of transformers' CLIPVisionModel, its `vision_model.` prefix left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from PIL import Image as Pillow
from torch import Tensor, nn

from diffusion.networks.attention import attention
from diffusion.text.text_encoder import quick_gelu
from diffusion.types import Image

_HEAD_WIDTH = 64
"""Of every CLIP that was published."""
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VisionConfig:
    """Sizes: width of the vectors, of a patch's side and of the picture's in pixels, of the MLP, number of layers."""

    width: int
    hidden: int
    layers: int
    patch: int
    image: int

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> VisionConfig:
        """Read off the weights. Raises KeyError for those of something else, ValueError for sizes that do not fit."""
        width, _, patch, _ = weights["embeddings.patch_embedding.weight"].shape
        side = math.isqrt(len(weights["embeddings.position_embedding.weight"]) - 1)
        layers = {key.split(".")[2] for key in weights if key.startswith("encoder.layers.")}
        if width % _HEAD_WIDTH:
            raise ValueError(f"a width of {width} is not made of heads of {_HEAD_WIDTH}")
        hidden = len(weights["encoder.layers.0.mlp.fc1.weight"])
        return cls(width, hidden, len(layers), patch, side * patch)


class VisionTransformer(nn.Module):
    """[B, 3, S, S], normalised (see `prepared`), to [B, C]: the state of the class token, normed."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.width)
        self.encoder = _Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        states = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        pooled: Tensor = self.post_layernorm(states[:, 0])
        return pooled


class _Embeddings(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.patch_embedding = nn.Conv2d(3, config.width, config.patch, config.patch, bias=False)
        self.position_embedding = nn.Embedding((config.image // config.patch) ** 2 + 1, config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = rearrange(self.patch_embedding(pixels), "b c h w -> b (h w) c")
        tokens = torch.cat([self.class_embedding.expand(len(pixels), 1, -1), patches], dim=1)
        placed: Tensor = tokens + self.position_embedding.weight
        return placed


class _Encoder(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Layer(nn.Module):
    """Pre-norm attention and MLP, each added to its input: [B, T, C]."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config.width)
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.mlp = _MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        mixed: Tensor = x + self.mlp(self.layer_norm2(x))
        return mixed


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // _HEAD_WIDTH
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        seen = attention(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.num_heads)
        mixed: Tensor = self.out_proj(seen)
        return mixed


class _MLP(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.fc2(quick_gelu(self.fc1(x)))
        return mixed


def prepared(image: Image, side: int) -> Tensor:
    """Pictures [B, H, W, 3 or 4], 0..1, as CLIP sees them: [B, 3, side, side], normalised.

    The shorter side is scaled to `side` (bicubic, in 8 bits), and the middle is cut out.
    """
    return torch.stack([_prepared(picture, side) for picture in image])


def _prepared(picture: Tensor, side: int) -> Tensor:
    values = (picture[..., :3].float().cpu() * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    whole = Pillow.fromarray(values)
    shorter = min(whole.size)
    width, height = (max(side, side * length // shorter) for length in whole.size)
    scaled = whole.resize((width, height), Pillow.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    square = scaled.crop((left, top, left + side, top + side))
    pixels = torch.from_numpy(np.asarray(square).astype(np.float32) / 255.0)
    return rearrange((pixels - torch.tensor(_MEAN)) / torch.tensor(_DEVIATION), "h w c -> c h w")
