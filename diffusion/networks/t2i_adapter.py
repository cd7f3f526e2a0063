"""T2I-Adapters of Stable Diffusion 1.x, of any size: what a picture adds to the levels of the UNet's way down.

Attribute names are the published files' keys.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.config import LATENT_DOWNSCALE, AdapterConfig
from diffusion.networks.layers import Conv2d


class FullAdapter(nn.Module):
    """The adapter of Mou et al. 2023, section 3.2: residual blocks as wide as the UNet."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.conv_in = Conv2d(_cells(config), widths[0], 3, padding=1)
        self.body = nn.ModuleList(
            _Block(
                widths[level if block else max(level - 1, 0)],
                widths[level],
                config,
                down=level > 0 and not block,
            )
            for level in range(len(widths))
            for block in range(config.blocks)
        )

    def forward(self, picture: Tensor) -> list[Tensor]:
        """What to add at each level, finest first: [B, channels, h, w], then half of that, and so on.

        picture: [B, hint_channels, 8 * h, 8 * w], 0..1; computed in the weights' dtype.
        """
        h = self.conv_in(_unshuffled(picture, self))
        levels = []
        for number, block in enumerate(self.body, start=1):
            h = block(h)
            if number % self.config.blocks == 0:
                levels.append(h)
        return levels


class LightAdapter(nn.Module):
    """Its smaller form: residual blocks a quarter as wide, between 1x1 convolutions."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        before = (_cells(config), *config.channels[:-1])
        self.body = nn.ModuleList(
            _Extractor(width, wide, blocks=config.blocks, down=level > 0)
            for level, (width, wide) in enumerate(zip(before, config.channels, strict=True))
        )

    def forward(self, picture: Tensor) -> list[Tensor]:
        """As FullAdapter."""
        h = _unshuffled(picture, self)
        levels = []
        for extractor in self.body:
            h = extractor(h)
            levels.append(h)
        return levels


class _Block(nn.Module):
    """Two convolutions around a ReLU, added to what goes in. [B, C, h, w] to [B, wide, h or h / 2, w or w / 2]."""

    def __init__(self, width: int, wide: int, config: AdapterConfig, *, down: bool) -> None:
        super().__init__()
        padding = config.kernel // 2
        self.shrinks = down
        self.down_opt = _StridedConv(width) if down and config.strided else None
        self.in_conv = None if width == wide else Conv2d(width, wide, config.kernel, padding=padding)
        self.block1 = Conv2d(wide, wide, 3, padding=1)
        self.block2 = Conv2d(wide, wide, config.kernel, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        if self.shrinks:
            x = _halved(x) if self.down_opt is None else self.down_opt(x)
        if self.in_conv is not None:
            x = self.in_conv(x)
        return self.block2(F.relu(self.block1(x)), x)


class _StridedConv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class _Extractor(nn.Module):
    """A level of the light adapter. [B, C, h, w] to [B, wide, h or h / 2, w or w / 2]."""

    def __init__(self, width: int, wide: int, *, blocks: int, down: bool) -> None:
        super().__init__()
        self.shrinks = down
        self.in_conv = Conv2d(width, wide // 4, 1)
        self.body = nn.Sequential(*(_LightBlock(wide // 4) for _ in range(blocks)))
        self.out_conv = Conv2d(wide // 4, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_conv(self.body(self.in_conv(_halved(x) if self.shrinks else x)))


class _LightBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block1 = Conv2d(width, width, 3, padding=1)
        self.block2 = Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.block2(F.relu(self.block1(x)), x)


def _cells(config: AdapterConfig) -> int:
    """The numbers of the picture that lie under one of the latent."""
    return config.hint_channels * LATENT_DOWNSCALE**2


def _unshuffled(picture: Tensor, network: nn.Module) -> Tensor:
    return F.pixel_unshuffle(picture.to(next(network.parameters()).dtype), LATENT_DOWNSCALE)


def _halved(x: Tensor) -> Tensor:
    """Averages of 2x2 squares; what is over at an odd edge is averaged by itself."""
    return F.avg_pool2d(x, 2, ceil_mode=True)
