"""Arithmetic on masks [B, H, W]."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.channels import repeated_to


def _as_bits(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda below, above: operation(below.round().bool(), above.round().bool()).float()


_OPERATIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "multiply": torch.mul,
        "add": torch.add,
        "subtract": torch.sub,
        "and": _as_bits(torch.logical_and),
        "or": _as_bits(torch.logical_or),
        "xor": _as_bits(torch.logical_xor),
    }
)
OPERATIONS = tuple(_OPERATIONS)


def crop_mask(mask: Tensor, x: int, y: int, width: int, height: int) -> Tensor:
    """The part of width x height at (x, y), as far as the mask reaches. Raises ValueError when nothing is left."""
    if x >= mask.shape[2] or y >= mask.shape[1]:
        raise ValueError(
            f"At x {x}, y {y} nothing is left of a mask of {mask.shape[2]}x{mask.shape[1]} pixels. "
            "Use smaller x and y."
        )
    return mask[:, y : y + height, x : x + width]


def combine(destination: Tensor, source: Tensor, x: int, y: int, operation: str) -> Tensor:
    """`destination` with `source` combined into it at (x, y), as far as it reaches, cut to 0..1.

    operation: one of OPERATIONS; and, or and xor round both to 0 and 1 first. source: repeated to the destination's
    batch. Raises ValueError when the source would lie beside the destination.
    """
    height, width = destination.shape[1:]
    if x >= width or y >= height:
        raise ValueError(
            f"At x {x}, y {y} the source lies outside the destination of {width}x{height} pixels, so nothing would "
            "change. Use smaller x and y."
        )
    rows, columns = min(source.shape[1], height - y), min(source.shape[2], width - x)
    source = repeated_to(source, len(destination))[:, :rows, :columns]
    result = destination.clone()
    place = result[:, y : y + rows, x : x + columns]
    place.copy_(_OPERATIONS[operation](place, source))
    return result.clamp(0, 1)


def feather(mask: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """The mask falling to its edges, over so many pixels from each side, evenly.

    Existing workflows count on the exact numbers, so those are kept: from the right, the last column is multiplied by
    2 / right, the one before it by 3 / right, ..., and the first column of all by 1 / right; likewise from below.
    """
    height, width = mask.shape[1:]
    across = _rise(width, left) * _fall(width, right)
    down = _rise(height, top) * _fall(height, bottom)
    return mask * across * down[:, None]


def _rise(size: int, over: int) -> Tensor:
    over = min(over, size)
    return torch.cat((torch.arange(1, over + 1) / max(over, 1), torch.ones(size - over)))


def _fall(size: int, over: int) -> Tensor:
    """The weights of `_rise` counted from the end, one place further on, the first of them at the beginning."""
    return _rise(size, over).flip(0).roll(1)


def grow(mask: Tensor, pixels: int, *, tapered_corners: bool) -> Tensor:
    """The mask grown by so many pixels, or shrunk when negative: each takes the largest (smallest) value around it.

    tapered_corners: whether it grows sideways, up and down only, so that a point becomes a diamond, not a square.
    """
    sign = -1 if pixels < 0 else 1
    steps = min(abs(pixels), sum(mask.shape[1:]))
    grown = sign * mask[:, None]
    if tapered_corners:
        for _ in range(steps):
            across = F.max_pool2d(grown, (1, 3), stride=1, padding=(0, 1))
            grown = torch.maximum(across, F.max_pool2d(grown, (3, 1), stride=1, padding=(1, 0)))
    else:
        for _ in range(steps):
            grown = F.max_pool2d(grown, 3, stride=1, padding=1)
    return sign * grown[:, 0]


def colour_mask(image: Tensor, color: int) -> Tensor:
    """1 where the picture, in 8 bits a channel, has the colour 0xRRGGBB exactly, and else 0."""
    values = (image[..., :3].clamp(0, 1) * 255.0).round().int()
    wanted = torch.tensor([color >> 16 & 0xFF, color >> 8 & 0xFF, color & 0xFF], dtype=torch.int32)
    return (values == wanted).all(dim=-1).float()
