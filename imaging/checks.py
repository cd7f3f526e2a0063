"""What a picture and a mask must be before anything is computed from them, and how large a result may become."""

from collections.abc import Mapping

import torch
from torch import Tensor

MAX_SIDE = 16384
MAX_PIXELS = MAX_SIDE * MAX_SIDE
"""In all pictures of a result together: 3.2 GB of RGB in float32. What goes beyond would fill the memory, mostly by a
slip of the hand."""
COLOUR = (3,)
COLOUR_OR_ALPHA = (3, 4)
ANY_CHANNELS = (1, 3, 4)
_SOURCE = "Look at the node it comes from."
_CHANNEL_NAMES = {1: "grey", 3: "RGB", 4: "RGBA"}
_REMEDIES: Mapping[tuple[int, ...], str] = {
    COLOUR: "Take the alpha channel off with SplitImageWithAlpha, or turn a mask into a picture first."
}


def picture(image: Tensor, name: str, channels: tuple[int, ...] = ANY_CHANNELS) -> Tensor:
    """`image` itself. Raises ValueError, naming the input, unless it is [B, H, W, C] of finite numbers, none of them 0.

    channels: the numbers of channels that will do.
    """
    if image.ndim != 4 or 0 in image.shape:
        raise ValueError(
            f"{name} has the shape {list(image.shape)}; pictures are [batch, height, width, channels], "
            f"each at least 1. {_SOURCE}"
        )
    if image.shape[-1] not in channels:
        wanted = " or ".join(f"{number} ({_CHANNEL_NAMES[number]})" for number in channels)
        raise ValueError(
            f"{name} has {image.shape[-1]} channels and this needs {wanted}. {_REMEDIES.get(channels, _SOURCE)}"
        )
    _check_finite(image, name)
    return image


def mask_of(mask: Tensor, name: str) -> Tensor:
    """A mask as [B, H, W]; [H, W] and [B, 1, H, W] are taken too. Raises ValueError, naming the input, for all else."""
    if mask.ndim not in (2, 3, 4) or 0 in mask.shape or (mask.ndim == 4 and mask.shape[1] != 1):
        raise ValueError(
            f"{name} has the shape {list(mask.shape)}; masks are [batch, height, width], each at least 1. {_SOURCE}"
        )
    _check_finite(mask, name)
    return mask.reshape(-1, mask.shape[-2], mask.shape[-1])


def _check_finite(values: Tensor, name: str) -> None:
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite numbers where 0 to 1 should be. {_SOURCE}")


def check_size(width: int, height: int, batch: int, remedy: str) -> None:
    """Raises ValueError, ending with `remedy`, for a result without pixels or with more than memory is meant for."""
    if width < 1 or height < 1 or batch < 1:
        raise ValueError(f"The result would have {width}x{height} pixels, so nothing would be left. {remedy}")
    if max(width, height) > MAX_SIDE:
        raise ValueError(
            f"The result would have {width}x{height} pixels; a side has {MAX_SIDE} at most. {remedy}"
        )
    if width * height * batch > MAX_PIXELS:
        raise ValueError(
            f"The result would be {batch} pictures of {width}x{height} pixels, {width * height * batch:,} in all, "
            f"more than the {MAX_PIXELS:,} that are meant to fit the memory. {remedy}"
        )
