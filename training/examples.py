"""Drawn examples as tensors: pictures, thumbnails, token ids. An example is named by its seed and number."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion.text.tokenizer import Tokenizer
from training.drawing import Example, Mixture, draw_example
from training.drawing.styles import Style

POSITIONS = 77
THUMBNAIL = 16


def example(
    seed: int, name: str, number: int, *, mixture: Mixture, scale: int = 3, style: Style | None = None
) -> Example:
    """Example `number` of the series `name`: always the same one for a seed."""
    return draw_example(Random(f"{seed}:{name}:{number}"), mixture=mixture, scale=scale, style=style)


def as_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size to [B, 3, H, W], -1..1."""
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


def as_thumbnails(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pictures to 16 x 16 means, [B, 256, 3], -1..1, rows from the top."""
    pixels = as_pixels(pictures)
    return torch.nn.functional.adaptive_avg_pool2d(pixels, THUMBNAIL).flatten(2).transpose(1, 2)


def token_ids(tokenizer: Tokenizer, captions: Sequence[str]) -> Tensor:
    """Captions to [B, 77] ids: start, the caption (cut at 75 tokens), end, and ends to fill up."""
    rows = []
    for caption in captions:
        row = [tokenizer.start, *tokenizer.encode(caption)[: POSITIONS - 2], tokenizer.end]
        rows.append(row + [tokenizer.end] * (POSITIONS - len(row)))
    return torch.tensor(rows)
