"""RRDBNet: residual-in-residual dense blocks (ESRGAN, Wang et al. 2018; Real-ESRGAN, Wang et al. 2021; ESRGAN+)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks.layers import Conv2d
from diffusion.networks.upsampling import EnlargingConv2d

RESIDUAL_SHARE = 0.2
SLOPE = 0.2
UNSHUFFLED_MULTIPLE = 4
"""Sides are filled up to a multiple of this before pixels are packed into channels, whichever the packing."""


@dataclass(frozen=True)
class RRDBConfig:
    """doublings: how often the network doubles its sides. unshuffle: side of the squares of pixels that are packed into
    channels at its start, so that the whole enlarges by 2 ** doublings / unshuffle. skips: ESRGAN+'s additional paths.
    """

    in_channels: int = 3
    out_channels: int = 3
    width: int = 64
    growth: int = 32
    blocks: int = 23
    doublings: int = 2
    unshuffle: int = 1
    skips: bool = False

    @property
    def scale(self) -> int:
        """How many times larger the result is."""
        return 2**self.doublings // self.unshuffle


class DenseBlock(nn.Module):
    """Five convolutions, each of all that came before. [B, width, h, w] in and out."""

    def __init__(self, config: RRDBConfig) -> None:
        super().__init__()
        width, growth = config.width, config.growth
        self.conv1 = Conv2d(width, growth, 3, padding=1)
        self.conv2 = Conv2d(width + growth, growth, 3, padding=1)
        self.conv3 = Conv2d(width + 2 * growth, growth, 3, padding=1)
        self.conv4 = Conv2d(width + 3 * growth, growth, 3, padding=1)
        self.conv5 = Conv2d(width + 4 * growth, width, 3, padding=1)
        self.conv1x1 = Conv2d(width, growth, 1, bias=False) if config.skips else None

    def forward(self, x: Tensor) -> Tensor:
        first = _active(self.conv1(x))
        second = _active(self.conv2(torch.cat((x, first), 1)))
        if self.conv1x1 is not None:
            second = second + self.conv1x1(x)
        third = _active(self.conv3(torch.cat((x, first, second), 1)))
        fourth = _active(self.conv4(torch.cat((x, first, second, third), 1)))
        if self.conv1x1 is not None:
            fourth = fourth + second
        return x + RESIDUAL_SHARE * self.conv5(torch.cat((x, first, second, third, fourth), 1))


class RRDB(nn.Module):
    """Three dense blocks beside a straight path. [B, width, h, w] in and out."""

    def __init__(self, config: RRDBConfig) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(config)
        self.rdb2 = DenseBlock(config)
        self.rdb3 = DenseBlock(config)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SHARE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """Pictures [B, C, h, w] float32, 0..1, enlarged `config.scale` times. Keys are those of Real-ESRGAN's files."""

    def __init__(self, config: RRDBConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv_first = Conv2d(config.in_channels * config.unshuffle**2, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(config) for _ in range(config.blocks)))
        self.conv_body = Conv2d(width, width, 3, padding=1)
        self._doublings = [f"conv_up{number}" for number in range(1, config.doublings + 1)]
        for name in self._doublings:
            self.add_module(name, EnlargingConv2d(width))
        self.conv_hr = Conv2d(width, width, 3, padding=1)
        self.conv_last = Conv2d(width, config.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.config.unshuffle > 1:
            x = F.pixel_unshuffle(_filled_up(x), self.config.unshuffle)
        x = self.conv_first(x.to(next(self.parameters()).dtype))
        x = x + self.conv_body(self.body(x))
        for name in self._doublings:
            layer = self.get_submodule(name)
            assert isinstance(layer, EnlargingConv2d)
            x = _active(layer.enlarge(x, (2 * x.shape[-2], 2 * x.shape[-1])))
        x = self.conv_last(_active(self.conv_hr(x))).float()
        return x[..., : height * self.config.scale, : width * self.config.scale]


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)


def _filled_up(x: Tensor) -> Tensor:
    """Sides made a multiple: mirrored as far as there is something to mirror, the last pixel repeated beyond."""
    down, across = (-side % UNSHUFFLED_MULTIPLE for side in x.shape[-2:])
    mirrored_down, mirrored_across = min(down, x.shape[-2] - 1), min(across, x.shape[-1] - 1)
    x = F.pad(x, (0, mirrored_across, 0, mirrored_down), mode="reflect")
    return F.pad(x, (0, across - mirrored_across, 0, down - mirrored_down), mode="replicate")
