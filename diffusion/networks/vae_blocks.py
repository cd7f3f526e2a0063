"""The autoencoder's parts: residual block, attention over pixels, downsampling, levels, the middle."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from diffusion.networks.attention import attention
from diffusion.networks.layers import Conv2d, GroupNorm, NormSiLU
from diffusion.networks.upsampling import Upsample

EPS = 1e-6


class ResnetBlock(nn.Module):
    """Two convolutions and a shortcut. [B, C, h, w] to [B, out_channels, h, w]."""

    def __init__(self, channels: int, out_channels: int, *, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = NormSiLU(norm_groups, channels, eps=EPS)
        self.conv1 = Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = NormSiLU(norm_groups, out_channels, eps=EPS)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        same = channels == out_channels
        self.nin_shortcut = nn.Identity() if same else Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.norm2(self.conv1(self.norm1(x))), self.nin_shortcut(x))


class PixelAttention(nn.Module):
    """Every pixel attends to every other, in one head, added to the picture. [B, C, h, w] in and out."""

    def __init__(self, channels: int, *, norm_groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(norm_groups, channels, eps=EPS)
        self.q = Conv2d(channels, channels, 1)
        self.k = Conv2d(channels, channels, 1)
        self.v = Conv2d(channels, channels, 1)
        self.proj_out = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        normed = self.norm(x)
        q, k, v = (rearrange(part(normed), "b c h w -> b (h w) c") for part in (self.q, self.k, self.v))
        seen = rearrange(attention(q, k, v, num_heads=1), "b (h w) c -> b c h w", h=height, w=width)
        return self.proj_out(seen, x)


class Middle(nn.Module):
    """The coarsest level's two residual blocks, attention between them. [B, C, h, w] in and out."""

    def __init__(self, channels: int, *, norm_groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, norm_groups=norm_groups)
        self.attn_1 = PixelAttention(channels, norm_groups=norm_groups)
        self.block_2 = ResnetBlock(channels, channels, norm_groups=norm_groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nn.Module):
    """A strided convolution. [B, C, h, w] to [B, C, h/2, w/2], rounded down."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # right and bottom only, as the weights were trained


class DownLevel(nn.Module):
    """One resolution of the encoder: residual blocks, then half the size unless it is the `last` level."""

    def __init__(
        self, channels: int, out_channels: int, *, blocks: int, norm_groups: int, last: bool
    ) -> None:
        super().__init__()
        self.block = _residual_blocks(channels, out_channels, blocks, norm_groups)
        self.downsample = nn.Identity() if last else Downsample(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.block(x))


class UpLevel(nn.Module):
    """One resolution of the decoder: residual blocks, then twice the size unless it is the `last` level."""

    def __init__(
        self, channels: int, out_channels: int, *, blocks: int, norm_groups: int, last: bool
    ) -> None:
        super().__init__()
        self.block = _residual_blocks(channels, out_channels, blocks, norm_groups)
        self.upsample = nn.Identity() if last else Upsample(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(self.block(x))


def _residual_blocks(channels: int, out_channels: int, blocks: int, norm_groups: int) -> nn.Sequential:
    widths = [channels] + [out_channels] * (blocks - 1)
    return nn.Sequential(*(ResnetBlock(width, out_channels, norm_groups=norm_groups) for width in widths))
