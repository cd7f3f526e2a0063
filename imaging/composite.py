"""One picture laid onto another."""

import torch
from torch import Tensor

from imaging.channels import repeated_to, with_channels
from imaging.scale import resize, resize_mask


def paste(destination: Tensor, source: Tensor, x: int, y: int, mask: Tensor | None, *, fit: bool) -> Tensor:
    """`destination` [B, H, W, C] with `source` laid onto it, its corner at (x, y); what reaches beyond is cut off.

    source: repeated to the destination's batch, and given its channels. mask: [B, H, W], scaled to the source, 1 where
    the source shows; None for all of it. fit: scale the source to the destination first, bilinearly.

    Raises ValueError when the source would lie beside the destination.
    """
    batch, height, width, channels = destination.shape
    if x >= width or y >= height:
        raise ValueError(
            f"At x {x}, y {y} the source lies outside the destination of {width}x{height} pixels, so nothing would "
            "show. Use smaller x and y."
        )
    source = with_channels(source, channels)
    if fit:
        source = resize(source, width, height, "bilinear")
    source = repeated_to(source, batch)
    cover = torch.ones_like(source[..., :1]) if mask is None else _cover(mask, source)
    rows, columns = min(source.shape[1], height - y), min(source.shape[2], width - x)
    cover, source = cover[:, :rows, :columns], source[:, :rows, :columns]
    result = destination.clone()
    place = result[:, y : y + rows, x : x + columns]
    place.copy_(cover * source + (1 - cover) * place)
    return result


def _cover(mask: Tensor, source: Tensor) -> Tensor:
    height, width = source.shape[1:3]
    return repeated_to(resize_mask(mask, width, height), len(source))[..., None]
