"""Pictures with few colours."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

DITHERS = ("none", "floyd-steinberg", "bayer-2", "bayer-4", "bayer-8", "bayer-16")


def quantize(image: Tensor, colors: int, dither: str) -> Tensor:
    """RGB pictures [B, H, W, 3], each with at most `colors` colours of its own, chosen by median cut (Pillow's).

    dither: one of DITHERS; "bayer-N" adds an ordered pattern of NxN pixels before each takes its nearest colour.
    """
    return torch.stack([_quantize_one(picture, colors, dither) for picture in image]).to(image)


def _quantize_one(picture: Tensor, colors: int, dither: str) -> Tensor:
    source = Pillow.fromarray((picture.detach().cpu().clamp(0, 1) * 255).to(torch.uint8).numpy())
    palette = source.quantize(colors=colors)
    if dither.startswith("bayer"):
        source = _with_pattern(source, palette, int(dither.removeprefix("bayer-")))
    error_diffusion = dither == "floyd-steinberg"
    mode = Pillow.Dither.FLOYDSTEINBERG if error_diffusion else Pillow.Dither.NONE
    result = source.quantize(palette=palette, dither=mode).convert("RGB")
    return torch.from_numpy(np.asarray(result).astype(np.float32) / 255)


def _with_pattern(source: Pillow.Image, palette: Pillow.Image, order: int) -> Pillow.Image:
    """The picture plus the pattern, as large as the palette's colours are apart on average."""
    values = np.asarray(source).astype(np.float32)
    spread = 2 * 256 / (len(palette.getpalette() or ()) // 3)
    pattern = (spread * bayer_matrix(order) + 0.5).astype(np.float32)
    height, width = values.shape[:2]
    tiled = np.tile(pattern, (-(-height // order), -(-width // order)))[:height, :width]
    return Pillow.fromarray(np.clip(values + tiled[..., None], 0, 255).astype(np.uint8))


def bayer_matrix(order: int) -> NDArray[np.float64]:
    """Bayer's (1973) threshold pattern of order x order, a power of two: evenly spaced values in -1/2..1/2."""
    matrix = np.zeros((1, 1))
    while len(matrix) < order:
        step = 1 / (4 * matrix.size)
        matrix = np.block(
            [[matrix - 1.5 * step, matrix + 0.5 * step], [matrix + 1.5 * step, matrix - 0.5 * step]]
        )
    return matrix
