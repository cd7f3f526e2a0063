"""The layers that the networks share: each the one place where a faster form of its arithmetic attaches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks import packing
from diffusion.networks.native_passes import passes_for


class Conv2d(nn.Conv2d):
    """A convolution, [B, C, h, w]. Once packed it computes from re-ordered weights, and has no `weight` any more."""

    packed: Tensor | None = None
    channels_last: bool = False
    streams: bool = False

    def pack(self) -> None:
        """Trade the weight for its packed form, where that is faster; and compute channels-last from now on."""
        self.channels_last = True
        if self.packed is None and self.padding_mode == "zeros" and packing.packs(self.weight):
            self.streams = packing.streams(self.weight) and self._keeps_size
            self.packed = (
                packing.packed_neighbourhoods(self.weight)
                if self.streams
                else packing.packed_convolution(self.weight, **self._settings)
            )
            self.register_parameter("weight", None)

    def forward(self, input: Tensor) -> Tensor:
        if self.channels_last:
            input = input.contiguous(memory_format=torch.channels_last)
        if self.packed is None:
            return super().forward(input)
        if self.streams:
            return packing.convolve_neighbourhoods(input, self.packed, self.bias, 3)
        return packing.convolve(input, self.packed, self.bias, **self._settings)

    @property
    def _keeps_size(self) -> bool:
        """Whether it is an ordinary 3x3 convolution, which leaves the picture's size as it is."""
        return self.kernel_size == (3, 3) and self._settings == {
            "padding": (1, 1),
            "stride": (1, 1),
            "dilation": (1, 1),
            "groups": 1,
        }

    @property
    def _settings(self) -> packing.Settings:
        assert not isinstance(self.padding, str)
        return {
            "padding": self.padding,
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
        }


class Linear(nn.Linear):
    """A linear layer, [..., C]. Once packed it computes from re-ordered weights, and has no `weight` any more."""

    packed: Tensor | None = None

    def pack(self) -> None:
        """Trade the weight for its packed form, where that is faster."""
        if self.packed is None and packing.packs(self.weight):
            self.packed = packing.packed_linear(self.weight)
            self.register_parameter("weight", None)

    def forward(self, input: Tensor) -> Tensor:
        if self.packed is None:
            return super().forward(input)
        return packing.multiply(input, self.packed, self.bias)


class GroupNorm(nn.GroupNorm):
    """Group norm, [B, C, h, w] in and out, in one pass over the picture with what stands beside it."""

    silu = False

    def forward(self, input: Tensor, shift: Tensor | None = None) -> Tensor:
        """shift: [B or 1, C], added to every pixel beforehand."""
        passes = passes_for(input, shift, self.weight, self.bias)
        if passes and input.is_contiguous(memory_format=torch.channels_last):
            return passes.group_norm(
                input, shift, self.weight, self.bias, groups=self.num_groups, eps=self.eps, silu=self.silu
            )
        normed = super().forward(input if shift is None else input + shift[:, :, None, None])
        return F.silu(normed) if self.silu else normed


class NormSiLU(GroupNorm):
    """Group norm and then SiLU, what stands before nearly every convolution."""

    silu = True


class LayerNorm(nn.LayerNorm):
    """Layer norm of tokens [..., C]."""

    def forward(self, input: Tensor) -> Tensor:
        return self.of_sum(input, None)[1]

    def of_sum(self, x: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
        """(x + added, its norm), each [..., C]; without `added`, of x."""
        passes = passes_for(x, added, self.weight, self.bias)
        if passes and x.is_contiguous() and (added is None or added.is_contiguous()):
            return passes.layer_norm(x, added, self.weight, self.bias, self.eps)
        total = x if added is None else x + added
        return total, super().forward(total)


def geglu(projected: Tensor) -> Tensor:
    """[..., 2 * hidden] to [..., hidden]: one half gated by GELU of the other (Shazeer 2020)."""
    passes = passes_for(projected)
    if passes and projected.is_contiguous():
        return passes.geglu(projected)
    value, gate = projected.chunk(2, dim=-1)
    return value * F.gelu(gate)
