"""Latents of another size: interpolation by each of the field's methods."""

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.latents.checks import check_count

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "bislerp")
_ALIKE = 1 - 1e-5
"""Directions whose cosine is past this are one and the same, or opposite: their great circle is not to be had."""


def resized(samples: Tensor, width: int, height: int, method: str, *, crop: bool = False) -> Tensor:
    """samples [B, C, h, w] -> [B, C, height, width], by one of METHODS.

    crop: cut around the centre to the new proportions first, instead of stretching. Raises ValueError for a size of 0,
    and for one that would fill the memory.
    """
    if width < 1 or height < 1:
        raise ValueError(
            f"A latent of {width}x{height} cannot be made: each side is 1 (8 pixels) at least. Choose a larger size."
        )
    check_count(*samples.shape[:2], height, width)
    part = _cut_to_proportions(samples, width, height) if crop else samples
    if method == "bislerp":
        return bislerp(part, width, height)
    return F.interpolate(part, size=(height, width), mode=method)


def _cut_to_proportions(samples: Tensor, width: int, height: int) -> Tensor:
    old_height, old_width = samples.shape[-2:]
    # Written as quotients of proportions, as rounding decides on which cell the cut falls.
    old, new = old_width / old_height, width / height
    left = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    top = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    if old_width <= 2 * left or old_height <= 2 * top:
        raise ValueError(
            f"Nothing is left of a latent of {old_width}x{old_height} when it is cut to the proportions "
            f"{width}:{height}. Turn crop off, or choose a size closer to the latent's own proportions."
        )
    return samples[..., top : old_height - top, left : old_width - left]


def bislerp(samples: Tensor, width: int, height: int) -> Tensor:
    """Bilinear interpolation with great circles in place of lines: [B, C, h, w] -> [B, C, height, width] float32.

    The channels of a cell are one vector; between two cells its direction moves along the great circle (Shoemake 1985)
    and its length on a line, first along x and then along y. Plain interpolation shortens vectors, which blurs latents.
    """
    along_x = _slerp_axis(samples.float().movedim(1, -1), 2, width)
    return _slerp_axis(along_x, 1, height).movedim(-1, 1).to(samples.dtype)


def _slerp_axis(vectors: Tensor, axis: int, size: int) -> Tensor:
    """vectors [B, h, w, C] with `size` entries along `axis` (1 or 2)."""
    old = vectors.shape[axis]
    cells = torch.arange(old, dtype=torch.float32, device=vectors.device)
    positions = F.interpolate(cells[None, None, None], size=(1, size), mode="bilinear").flatten()
    first = positions.long()
    second = (first + 1).clamp(max=old - 1)
    shape = [-1 if i == axis else 1 for i in range(4)]
    ratio = (positions - first).reshape(shape)
    return _slerp(vectors.index_select(axis, first), vectors.index_select(axis, second), ratio)


def _slerp(a: Tensor, b: Tensor, ratio: Tensor) -> Tensor:
    """From a (ratio 0) to b (ratio 1), vectors along the last axis. Opposite vectors are mixed on a line."""
    length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    unit_a, unit_b = torch.nan_to_num(a / length_a), torch.nan_to_num(b / length_b)
    cosine = (unit_a * unit_b).sum(-1, keepdim=True)
    angle = torch.acos(cosine.clamp(-1, 1))
    turned = (torch.sin((1 - ratio) * angle) * unit_a + torch.sin(ratio * angle) * unit_b) / torch.sin(angle)
    mixed = turned * (length_a * (1 - ratio) + length_b * ratio)
    mixed = torch.where(cosine > _ALIKE, a, mixed)
    return torch.where(cosine < -_ALIKE, a * (1 - ratio) + b * ratio, mixed)
