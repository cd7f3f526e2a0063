"""Edges in pictures."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)
_SMOOTHING_RADIUS = 2
_EPSILON = 1e-6
_STEPS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""(row, column) of the neighbour at each multiple of 45 degrees, clockwise from the right."""


def canny(image: Tensor, low: float, high: float) -> Tensor:
    """Thin edges as masks [B, H, W] of 0 and 1 (Canny 1986): smoothing, gradient, thinning, two thresholds.

    low, high: of the gradient by Sobel kernels, of a picture in 0..1. Stronger than `high` is an edge; weaker, down to
    `low`, only where it touches one. Raises ValueError when low is above high, and for pictures under 3 pixels a side.
    """
    if low > high:
        raise ValueError(
            f"low_threshold {low} is above high_threshold {high}: weak edges are those between the two. Swap them."
        )
    if min(image.shape[1:3]) <= _SMOOTHING_RADIUS:
        raise ValueError(
            f"A picture of {image.shape[2]}x{image.shape[1]} pixels has no edges to find: it needs 3x3 at least."
        )
    down, right = _gradient(_smoothed(_grey(image)))
    strength = torch.sqrt(right * right + down * down + _EPSILON)
    thin = strength * _is_ridge(strength, torch.atan2(down, right))
    return _connected(thin > low, thin > high).float()[:, 0]


def _grey(image: Tensor) -> Tensor:
    """[B, 1, H, W], ITU-R BT.601 luma."""
    planes = rearrange(image[..., :3], "b h w c -> b c h w")
    if planes.shape[1] == 1:
        return planes
    return (planes * torch.tensor(_LUMA).reshape(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _smoothed(grey: Tensor) -> Tensor:
    """Blurred with a Gaussian of a pixel's width."""
    places = torch.arange(-_SMOOTHING_RADIUS, _SMOOTHING_RADIUS + 1)
    taps = torch.exp(-places.square() / 2.0)
    kernel = (taps / taps.sum()).reshape(1, 1, 1, -1)
    padded = F.pad(grey, (_SMOOTHING_RADIUS,) * 4, "reflect")
    return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))


def _gradient(grey: Tensor) -> tuple[Tensor, Tensor]:
    """How grey grows downwards and to the right, by Sobel's kernels, which weigh it 8 times."""
    padded = F.pad(grey, (1, 1, 1, 1), "replicate")
    difference, average = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])
    right = torch.outer(average, difference).reshape(1, 1, 3, 3)
    return F.conv2d(padded, right.transpose(2, 3)), F.conv2d(padded, right)


def _is_ridge(strength: Tensor, angle: Tensor) -> Tensor:
    """Where the gradient is stronger than at both neighbours along it, to the nearest 45 degrees."""
    height, width = strength.shape[2:]
    padded = F.pad(strength, (1, 1, 1, 1))
    neighbours = torch.cat(
        [padded[:, :, 1 + row : 1 + row + height, 1 + column : 1 + column + width] for row, column in _STEPS],
        dim=1,
    )
    ahead = (angle * (4 / torch.pi)).round().long() % 8
    behind = (ahead + 4) % 8
    return (strength > neighbours.gather(1, ahead)) & (strength > neighbours.gather(1, behind))


def _connected(weak: Tensor, strong: Tensor) -> Tensor:
    """The strong places, and the weak ones that a path of weak ones joins to them; diagonal steps count."""
    found = strong
    while True:
        grown = (F.max_pool2d(found.float(), 3, stride=1, padding=1) > 0) & weak | strong
        if torch.equal(grown, found):
            return found
        found = grown
