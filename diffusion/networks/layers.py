"""The layers that UNet and VAE share: each the one place where a faster form of its arithmetic attaches."""

import torch.nn.functional as F
from torch import Tensor, nn


class NormSiLU(nn.GroupNorm):
    """Group norm and then SiLU, what stands before nearly every convolution. [B, C, h, w] in and out."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(super().forward(input))


class Upsample(nn.Module):
    """Nearest-neighbour enlargement and then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """[B, C, h, w] to [B, C, 2h, 2w], or to `size` (height, width): 2h or 2h-1, 2w or 2w-1."""
        height, width = x.shape[-2:]
        return self.conv(F.interpolate(x, size or (2 * height, 2 * width), mode="nearest"))
