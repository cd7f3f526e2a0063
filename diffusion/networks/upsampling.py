"""Enlarging a picture and convolving it, in one: what stands where a network doubles its resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks import packing
from diffusion.networks.layers import Conv2d
from diffusion.networks.onednn import Settings

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
_PHASE_SETTINGS: Settings = {"padding": (1, 1), "stride": (1, 1), "dilation": (1, 1), "groups": 1}


class EnlargingConv2d(Conv2d):
    """A 3x3 convolution of a picture enlarged by nearest neighbours.

    Once packed, a doubling is four 2x2 convolutions on the small picture, one for each phase of the large one: its rows
    and columns come in equal pairs, so the kernel's taps on a pair are summed beforehand. The same numbers, up to
    rounding, for 16 multiplications in place of 36.
    """

    phases: packing.Packed | None = None

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def pack(self) -> None:
        """Sum the taps, where packing is faster; the packed convolution itself serves sizes that are no doubling."""
        if self.packed is None and packing.packs(self.weight):
            self.phases = packing.pack_convolution(_phase_kernels(self.weight), _PHASE_SETTINGS)
        super().pack()

    def enlarge(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """[B, C, h, w] to [B, C, *size]."""
        if self.phases is not None and size == (2 * x.shape[-2], 2 * x.shape[-1]):
            return self._by_phases(x.contiguous(memory_format=torch.channels_last), self.phases)
        return self(F.interpolate(x, size, mode="nearest"))

    def _by_phases(self, x: Tensor, phases: packing.Packed) -> Tensor:
        batch, channels, height, width = x.shape
        biases = None if self.bias is None else self.bias.repeat(4)
        parts = phases(x, biases).chunk(4, dim=1)  # [B, C, h+1, w+1] each, to be cut from its own corner
        result = torch.empty(
            (batch, channels, 2 * height, 2 * width), dtype=x.dtype, memory_format=torch.channels_last
        )
        for part, (row, column) in zip(parts, _PHASES, strict=True):
            result[:, :, row::2, column::2] = part[:, :, row : row + height, column : column + width]
        return result


class Upsample(nn.Module):
    """Nearest-neighbour enlargement and then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = EnlargingConv2d(channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """[B, C, h, w] to [B, C, 2h, 2w], or to `size` (height, width): 2h or 2h-1, 2w or 2w-1."""
        return self.conv.enlarge(x, size or (2 * x.shape[-2], 2 * x.shape[-1]))


def _phase_kernels(weight: Tensor) -> Tensor:
    """The 3x3 kernels [O, I, 3, 3] as 2x2 kernels for each phase, [4 * O, I, 2, 2]."""
    taps = weight.float()
    # By rows: an even row sees the one above once and its own pair twice; an odd row the other way round.
    rows = (
        torch.stack([taps[:, :, 0], taps[:, :, 1] + taps[:, :, 2]], dim=2),
        torch.stack([taps[:, :, 0] + taps[:, :, 1], taps[:, :, 2]], dim=2),
    )
    kernels = []
    for row, column in _PHASES:
        left, middle, right = rows[row].unbind(dim=3)
        pair = (left, middle + right) if column == 0 else (left + middle, right)
        kernels.append(torch.stack(pair, dim=3))
    return torch.cat(kernels).to(weight.dtype)
