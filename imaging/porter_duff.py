"""Pictures with transparency composed by the operators of Porter and Duff (1984) and the usual blend modes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from imaging.scale import resize, resize_mask

_Shares = Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor | float]]
_Colours = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
_Alpha = Callable[[Tensor, Tensor], Tensor]
_TRANSPARENT = 1e-5

# Which share of source and destination stays, by the alpha of the source (s) and of the destination (d).
_OPERATORS: Mapping[str, _Shares] = MappingProxyType(
    {
        "CLEAR": lambda s, d: (0.0, 0.0),
        "DST": lambda s, d: (0.0, 1.0),
        "DST_ATOP": lambda s, d: (1 - d, s),
        "DST_IN": lambda s, d: (0.0, s),
        "DST_OUT": lambda s, d: (0.0, 1 - s),
        "DST_OVER": lambda s, d: (1 - d, 1.0),
        "SRC": lambda s, d: (1.0, 0.0),
        "SRC_ATOP": lambda s, d: (d, 1 - s),
        "SRC_IN": lambda s, d: (d, 0.0),
        "SRC_OUT": lambda s, d: (1 - d, 0.0),
        "SRC_OVER": lambda s, d: (1.0, 1 - s),
        "XOR": lambda s, d: (1 - d, 1 - s),
    }
)


def _union(s: Tensor, d: Tensor) -> Tensor:
    return s + d - s * d


def _overlay(source: Tensor, s: Tensor, below: Tensor, d: Tensor) -> Tensor:
    return torch.where(2 * below < d, 2 * source * below, s * d - 2 * (d - source) * (s - below))


# The alpha of the result, and its colours out of (source, s, destination, d), both multiplied by their alpha.
_BLENDS: Mapping[str, tuple[_Alpha, _Colours]] = MappingProxyType(
    {
        "ADD": (lambda s, d: (s + d).clamp(0, 1), lambda a, s, b, d: (a + b).clamp(0, 1)),
        "DARKEN": (_union, lambda a, s, b, d: (1 - d) * a + (1 - s) * b + torch.minimum(a, b)),
        "LIGHTEN": (_union, lambda a, s, b, d: (1 - d) * a + (1 - s) * b + torch.maximum(a, b)),
        "MULTIPLY": (lambda s, d: s * d, lambda a, s, b, d: a * b),
        "OVERLAY": (_union, _overlay),
        "SCREEN": (_union, lambda a, s, b, d: a + b - a * b),
    }
)
MODES = tuple(sorted((*_OPERATORS, *_BLENDS)))


def compose(
    source: Tensor, source_mask: Tensor, below: Tensor, below_mask: Tensor, mode: str
) -> tuple[Tensor, Tensor]:
    """(picture [B, H, W, C], mask [B, H, W]) of `source` and the destination `below` by `mode`, one of MODES.

    Masks are 1 where a picture is transparent. All are scaled (bicubic, cut around the centre) to the destination's
    size; there are as many results as the shortest of the four batches has. Raises ValueError when the pictures differ
    in channels.
    """
    if source.shape[-1] != below.shape[-1]:
        raise ValueError(
            f"source has {source.shape[-1]} channels and destination {below.shape[-1]}; they need the same. "
            "Take an alpha channel off with SplitImageWithAlpha."
        )
    batch = min(len(source), len(source_mask), len(below), len(below_mask))
    source, source_mask, below, below_mask = (
        values[:batch] for values in (source, source_mask, below, below_mask)
    )
    height, width = below.shape[1:3]
    if source.shape[1:3] != (height, width):
        source = resize(source, width, height, "bicubic", "center")
    s, d = (1 - _sized(mask, width, height)[..., None] for mask in (source_mask, below_mask))
    colours, alpha = _composed(source * s, s, below * d, d, mode)
    colours = torch.where(alpha > _TRANSPARENT, colours / alpha, 0.0).clamp(0, 1)
    return colours, 1 - alpha[..., 0]


def _sized(mask: Tensor, width: int, height: int) -> Tensor:
    if mask.shape[1:] == (height, width):
        return mask
    return resize_mask(mask, width, height, "bicubic", "center")


def _composed(source: Tensor, s: Tensor, below: Tensor, d: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """(colours, alpha) of the result, colours multiplied by alpha."""
    if mode in _BLENDS:
        alpha, colours = _BLENDS[mode]
        return colours(source, s, below, d), alpha(s, d)
    of_source, of_below = _OPERATORS[mode](s, d)
    return of_source * source + of_below * below, of_source * s + of_below * d
