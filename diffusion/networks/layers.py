"""The layers that the networks share: each the one place where a faster form of its arithmetic attaches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.networks import packing
from diffusion.networks.native_passes import passes_for
from diffusion.networks.onednn import Settings
from diffusion.networks.packing import Packed


class Conv2d(nn.Conv2d):
    """A convolution, [B, C, h, w]. Once packed it computes from re-ordered weights, and has no `weight` any more."""

    packed: Packed | None = None
    channels_last: bool = False

    def pack(self) -> None:
        """Trade the weight for its packed form, where that is faster; and compute channels-last from now on."""
        self.channels_last = True
        if self.packed is None and self.padding_mode == "zeros" and packing.packs(self.weight):
            self.packed = packing.pack_convolution(self.weight, self._settings)
            self.register_parameter("weight", None)

    def forward(self, input: Tensor, added: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """added: what is added to the result, of its shape. dtype: what the result comes in, to be given where
        `added` has another than the input. Both may be float32 beside weights of less."""
        if self.channels_last:
            input = input.contiguous(memory_format=torch.channels_last)
        if self.packed is not None:
            return self.packed(input, self.bias, added, dtype)
        result = super().forward(input)
        result = result if added is None else added + result
        return result if dtype is None else result.to(dtype)

    @property
    def _settings(self) -> Settings:
        assert not isinstance(self.padding, str)
        return {
            "padding": self.padding,
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
        }


class Linear(nn.Linear):
    """A linear layer, [..., C]. Once packed it computes from re-ordered weights, and has no `weight` any more."""

    packed: Packed | None = None

    def pack(self) -> None:
        """Trade the weight for its packed form, where that is faster."""
        if self.packed is None and packing.packs(self.weight):
            self.packed = packing.pack_linear(self.weight)
            self.register_parameter("weight", None)

    def forward(self, input: Tensor, added: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """added: what is added to the result, of its shape. dtype: what the result comes in, to be given where
        `added` has another than the input. Both may be float32 beside weights of less."""
        if self.packed is not None:
            return self.packed(input, self.bias, added, dtype)
        result = super().forward(input)
        result = result if added is None else added + result
        return result if dtype is None else result.to(dtype)


class GatedLinear(Linear):
    """A linear layer, one half of which gates the other through GELU (Shazeer 2020). [..., C] to [..., O / 2]."""

    gated: packing.NativeGated | None = None

    def pack(self) -> None:
        """Trade the weight for its packed form, where that is faster."""
        if self.gated is None and packing.packs(self.weight):
            self.gated = packing.pack_gated(self.weight)
            if self.gated is not None:
                self.register_parameter("weight", None)
                return
        super().pack()

    def forward(self, input: Tensor, added: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """added: [..., O], to the projection, before the gate; only for a layer that was not packed."""
        if self.gated is None:
            return geglu(super().forward(input, added, dtype))
        if added is not None or dtype is not None:
            raise ValueError("a packed gated layer adds nothing before its gate: use one that was not packed")
        return self.gated(input, self.bias)


class GroupNorm(nn.GroupNorm):
    """Group norm, [B, C, h, w] in and out, in one pass over the picture with what stands beside it.

    A picture may come in float32 to weights of less; the result comes in the weights' dtype.
    """

    silu = False

    def forward(self, input: Tensor, shift: Tensor | None = None) -> Tensor:
        """shift: [B or 1, C], added to every pixel beforehand."""
        passes = passes_for(input, shift, self.weight, self.bias)
        channels_last = input.is_contiguous(memory_format=torch.channels_last)
        if passes and channels_last:
            return passes.group_norm(
                input, shift, self.weight, self.bias, groups=self.num_groups, eps=self.eps, silu=self.silu
            )
        shifted = input if shift is None else input + shift[:, :, None, None]
        if input.device.type == "cpu":
            # Channels-last, PyTorch subtracts squares, which leaves nothing of pictures whose mean is far from 0.
            shifted = shifted.contiguous()
        weight, bias = _as_wide(input, self.weight), _as_wide(input, self.bias)
        normed = F.group_norm(shifted, self.num_groups, weight, bias, self.eps)
        result = _narrow(F.silu(normed) if self.silu else normed, self.weight)
        return result.contiguous(memory_format=torch.channels_last) if channels_last else result


class NormSiLU(GroupNorm):
    """Group norm and then SiLU, what stands before nearly every convolution."""

    silu = True


class LayerNorm(nn.LayerNorm):
    """Layer norm of tokens [..., C], which may come in float32 to weights of less; the norm comes in the weights'."""

    def forward(self, input: Tensor) -> Tensor:
        return self.of_sum(input, None)[1]

    def of_sum(self, x: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
        """(x + added, its norm), each [..., C]; without `added`, of x. The sum comes in x's dtype."""
        passes = passes_for(x, self.weight, self.bias, added)
        if passes and x.is_contiguous() and (added is None or added.is_contiguous()):
            return passes.layer_norm(x, added, self.weight, self.bias, self.eps)
        total = x if added is None else x + added
        weight, bias = _as_wide(x, self.weight), _as_wide(x, self.bias)
        return total, _narrow(F.layer_norm(total, self.normalized_shape, weight, bias, self.eps), self.weight)


def _as_wide(x: Tensor, parameter: Tensor) -> Tensor:
    """A norm's parameter beside an x in float32."""
    return parameter.to(x.dtype) if x.dtype == torch.float32 else parameter


def _narrow(normed: Tensor, weight: Tensor) -> Tensor:
    """A norm that was computed in float32 for weights of less, as they are."""
    return normed.to(weight.dtype) if normed.dtype == torch.float32 else normed


def geglu(projected: Tensor) -> Tensor:
    """[..., 2 * hidden] to [..., hidden]: one half gated by GELU of the other (Shazeer 2020)."""
    passes = passes_for(projected)
    if passes and projected.is_contiguous():
        return passes.geglu(projected)
    value, gate = projected.chunk(2, dim=-1)
    return value * F.gelu(gate)
