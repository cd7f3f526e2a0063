"""SRVGGNetCompact: a plain row of convolutions that adds detail to a nearest-neighbour enlargement (Real-ESRGAN)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks.layers import Conv2d


@dataclass(frozen=True)
class CompactConfig:
    """convolutions: how many there are between the first and the last."""

    in_channels: int = 3
    out_channels: int = 3
    width: int = 64
    convolutions: int = 16
    scale: int = 4


class CompactNet(nn.Module):
    """Pictures [B, C, h, w] float32, 0..1, enlarged `config.scale` times. Keys are those of the published files.

    Only the detail is computed in the weights' precision: the picture itself passes unrounded.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [Conv2d(config.in_channels, config.width, 3, padding=1)]
        for _ in range(config.convolutions):
            layers += [nn.PReLU(config.width), Conv2d(config.width, config.width, 3, padding=1)]
        layers += [
            nn.PReLU(config.width),
            Conv2d(config.width, config.out_channels * config.scale**2, 3, padding=1),
        ]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        precision = next(self.parameters()).dtype
        detail = F.pixel_shuffle(self.body(x.to(precision)).float(), self.config.scale)
        return detail + F.interpolate(x, scale_factor=self.config.scale, mode="nearest")
