"""Two pictures mixed pixel by pixel."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from imaging.channels import repeated_to, with_channels
from imaging.scale import resize


def _overlay(below: Tensor, above: Tensor) -> Tensor:
    return torch.where(below <= 0.5, 2 * below * above, 1 - 2 * (1 - below) * (1 - above))


def _soft_light(below: Tensor, above: Tensor) -> Tensor:
    """As the W3C's Compositing and Blending defines it."""
    lighter = torch.where(below <= 0.25, ((16 * below - 12) * below + 4) * below, below.clamp(min=0).sqrt())
    return torch.where(
        above <= 0.5,
        below - (1 - 2 * above) * below * (1 - below),
        below + (2 * above - 1) * (lighter - below),
    )


_MODES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "normal": lambda below, above: above,
        "multiply": lambda below, above: below * above,
        "screen": lambda below, above: 1 - (1 - below) * (1 - above),
        "overlay": _overlay,
        "soft_light": _soft_light,
        "difference": lambda below, above: below - above,
    }
)
MODES = tuple(_MODES)


def blend(below: Tensor, above: Tensor, factor: float, mode: str) -> Tensor:
    """`below` [B, H, W, C] changed by `above`, cut to 0..1.

    above: scaled (bicubic, cut around the centre) to the other's size, repeated to its batch, given its channels.
    factor: 0..1, from `below` as it is to the full effect. mode: one of MODES; "difference" is below - above.
    """
    above = with_channels(above, below.shape[-1])
    if above.shape[1:3] != below.shape[1:3]:
        above = resize(above, below.shape[2], below.shape[1], "bicubic", "center")
    mixed = _MODES[mode](below, repeated_to(above, len(below)))
    return (below * (1 - factor) + mixed * factor).clamp(0, 1)
