"""Alpha channels and batches made to match, before two pictures meet."""

import torch
from torch import Tensor

RED, GREEN, BLUE, ALPHA = range(4)
CHANNELS = ("red", "green", "blue", "alpha")


def with_channels(image: Tensor, count: int) -> Tensor:
    """The picture [B, H, W, C] with `count` channels: grey is spread, alpha is cut off, or added as 1 (opaque)."""
    if image.shape[-1] == 1 and count > 1:
        image = image.expand(*image.shape[:-1], 3)
    if image.shape[-1] > count:
        return image[..., :count]
    if image.shape[-1] < count:
        opaque = torch.ones_like(image[..., :1]).expand(*image.shape[:-1], count - image.shape[-1])
        return torch.cat((image, opaque), dim=-1)
    return image


def repeated_to(batch: Tensor, length: int) -> Tensor:
    """The first `length` of the batch, which begins anew when it is shorter."""
    repeats = -(-length // len(batch))
    return batch.repeat(repeats, *(1 for _ in batch.shape[1:]))[:length] if repeats > 1 else batch[:length]


def padded_to(batch: Tensor, length: int) -> Tensor:
    """The batch with its last picture repeated up to `length`."""
    missing = length - len(batch)
    return torch.cat((batch, batch[-1:].expand(missing, *batch.shape[1:]))) if missing > 0 else batch


def join_alpha(image: Tensor, mask: Tensor) -> Tensor:
    """RGBA [B, H, W, 4] of a picture and a mask [B, H, W] of its size that is 1 where it is transparent."""
    return torch.cat((with_channels(image, 3), 1 - mask[..., None]), dim=-1)


def split_alpha(image: Tensor) -> tuple[Tensor, Tensor]:
    """(RGB, mask) of a picture; the mask is 1 where it is transparent, and 0 all over when it has no alpha."""
    alpha = image[..., ALPHA] if image.shape[-1] > ALPHA else torch.ones_like(image[..., 0])
    return image[..., :ALPHA], 1 - alpha


def channel_of(image: Tensor, channel: str) -> Tensor:
    """One channel of a picture as a mask [B, H, W]. Raises ValueError when it has no such channel."""
    if channel == "alpha" and image.shape[-1] < 4:
        raise ValueError(
            f"image has {image.shape[-1]} channels, so there is no alpha. Choose red, green or blue, or take the MASK "
            "output of LoadImage."
        )
    return image[..., CHANNELS.index(channel) if image.shape[-1] > 1 else 0]


def rgb_of(color: int) -> tuple[float, float, float]:
    """The three parts, 0..1, of a colour 0xRRGGBB."""
    return ((color >> 16 & 0xFF) / 0xFF, (color >> 8 & 0xFF) / 0xFF, (color & 0xFF) / 0xFF)


def filled(batch: int, height: int, width: int, color: int) -> Tensor:
    """Pictures [batch, height, width, 3] of one colour 0xRRGGBB."""
    return torch.tensor(rgb_of(color)).expand(batch, height, width, 3).contiguous()
