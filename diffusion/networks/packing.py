"""Weights laid out once in the order that the processor's kernels read them, and which of the kernels takes which.

Each form computes `form(x, bias, added, dtype)`: the layer, and the addition that comes after it, the result in a dtype
of its own if wanted. The native products of
native_products.py take what they are fastest at, oneDNN the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks import onednn
from diffusion.networks.native_products import Products, Squares, products_for

_SMALLEST = 32
"""Layers with fewer channels than this on either side gain nothing."""
_WIDE = 1024
"""Convolutions with as many channels as this on both sides have weights that outweigh the picture. oneDNN reads them at
half of the memory's rate."""
_NATIVE_LINEAR = ("amx_bf16",)
"""Native forms that are ahead of oneDNN's linear layers."""
_NATIVE_CONVOLUTION = ("avx2_fp32",)
"""Native forms that are ahead of oneDNN in convolutions that are not wide: without AVX-512, oneDNN re-orders pictures
of most sizes before and after."""


@dataclass(frozen=True, eq=False)
class Packed(ABC):
    """A weight laid out; `tensor` is as large as the weight."""

    tensor: Tensor

    @abstractmethod
    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The layer over x, plus `added`, which has the result's shape.

        dtype: of the result, x's own unless given. That and `added` may be in float32 whatever the rest is.
        """


@dataclass(frozen=True, eq=False)
class OneDnnLinear(Packed):
    """x [..., I] to [..., O] by oneDNN."""

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        return onednn.multiply(x, self.tensor, bias, added).to(dtype or x.dtype)


@dataclass(frozen=True, eq=False)
class NativeLinear(Packed):
    """x [..., I] to [..., O] by the native products."""

    products: Products

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        return self.products.multiply(x, self.tensor, bias, added, dtype)


@dataclass(frozen=True, eq=False)
class NativeGated(Packed):
    """x [..., I] to [..., O / 2], one half gated by GELU of the other, by the native products."""

    products: Products

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        assert added is None, "nothing is added after a gate"
        assert dtype in (None, x.dtype), "what was gated comes in its own dtype"
        return self.products.gate(x, self.tensor, bias)


@dataclass(frozen=True, eq=False)
class OneDnnConvolution(Packed):
    """Pictures [B, C, h, w] by oneDNN; channels-last."""

    settings: onednn.Settings

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        return onednn.convolve(x, self.tensor, bias, added, **self.settings).to(dtype or x.dtype)


@dataclass(frozen=True, eq=False)
class Pixelwise(Packed):
    """A 1x1 convolution as a linear layer over pixels, channels-last: oneDNN re-orders the picture for its own."""

    linear: Packed

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        pixels = None if added is None else added.permute(0, 2, 3, 1).contiguous()
        return self.linear(x.permute(0, 2, 3, 1), bias, pixels, dtype).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class NativeNeighbourhoods(Packed):
    """A convolution with a padding of 1 by the native products; channels-last."""

    products: Products
    squares: Squares

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        return self.products.convolve(x, self.tensor, bias, self.squares, added, dtype)


@dataclass(frozen=True, eq=False)
class Neighbourhoods(Packed):
    """A convolution with a padding of 1 as a linear layer over every pixel's neighbourhood, laid out; channels-last.

    That reads the weights faster than oneDNN's convolution does, and in one layout for all sizes of picture.
    """

    squares: Squares

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        size, stride = self.squares.size, self.squares.stride
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        squares = padded.unfold(1, size, stride).unfold(2, size, stride)  # [B, h', w', I, size, size]
        rows = squares.permute(0, 1, 2, 4, 5, 3).flatten(3)
        pixels = None if added is None else added.permute(0, 2, 3, 1).contiguous()
        return onednn.multiply(rows, self.tensor, bias, pixels).permute(0, 3, 1, 2).to(dtype or x.dtype)


def packs(weight: Tensor) -> bool:
    """Whether a layer with this weight is better packed: on the CPU, in a precision with kernels, not tiny."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and min(weight.shape[:2]) >= _SMALLEST
        and onednn.usable(weight.dtype)
    )


def pack_linear(weight: Tensor) -> Packed:
    """The weight [O, I] of a linear layer."""
    products = products_for(weight)
    if products and products.form in _NATIVE_LINEAR:
        return NativeLinear(products.pack(weight), products)
    return OneDnnLinear(onednn.packed_linear(weight))


def pack_gated(weight: Tensor) -> NativeGated | None:
    """The weight [O, I] of a linear layer with its gate, where one kernel does both."""
    products = products_for(weight)
    if products and products.form in _NATIVE_LINEAR:
        return NativeGated(products.pack(weight, gated=True), products)
    return None


def pack_convolution(weight: Tensor, settings: onednn.Settings) -> Packed:
    """The kernels [O, I, kh, kw] of a convolution with zeros around the picture."""
    if tuple(weight.shape[2:]) == (1, 1) and _plain(settings, padding=0):
        linear = pack_linear(weight.flatten(1))
        return Pixelwise(linear.tensor, linear)
    squares = _squares(weight, settings)
    products = products_for(weight) if squares else None
    wide = min(weight.shape[:2]) >= _WIDE
    if squares and products and (wide or products.form in _NATIVE_CONVOLUTION):
        return NativeNeighbourhoods(products.pack(_rows(weight)), products, squares)
    if squares and wide:
        return Neighbourhoods(onednn.packed_linear(_rows(weight)), squares)
    return OneDnnConvolution(onednn.packed_convolution(weight, **settings), settings)


def _rows(weight: Tensor) -> Tensor:
    """[O, I, kh, kw] as [O, kh * kw * I], in the order of a neighbourhood's numbers."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _squares(weight: Tensor, settings: onednn.Settings) -> Squares | None:
    """The neighbourhoods that a convolution of size 2 or 3 looks at, if it has a padding of 1 and nothing unusual."""
    (stride, other), size = settings["stride"], weight.shape[-1]
    if tuple(weight.shape[2:]) not in ((2, 2), (3, 3)) or stride != other:
        return None
    return Squares(size, stride) if _plain({**settings, "stride": (1, 1)}, padding=1) else None


def _plain(settings: onednn.Settings, *, padding: int) -> bool:
    return settings == {
        "padding": (padding, padding),
        "stride": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
    }
