"""Weights laid out once in the order that the processor's kernels read them, instead of at every call.

oneDNN re-orders the weights of a convolution or linear layer each time it is called from eager torch. The operators
that torch's compiler uses after freezing take weights re-ordered beforehand; they are called here directly. They are no
public interface, so they are checked once, when first asked for, and left alone when they are missing or disagree.
"""

from __future__ import annotations

from functools import cache
from typing import TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor


class Settings(TypedDict):
    """How a convolution moves over the picture, as torch says it."""

    padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


_NO_FUSION: tuple[str, list[float], str] = ("none", [], "")
_WIDE = 1024
_SMALLEST = 32
"""Layers with fewer channels than this on either side gain nothing."""


def packs(weight: Tensor) -> bool:
    """Whether a layer with this weight is better packed: on the CPU, in a precision with kernels, not tiny."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and min(weight.shape[:2]) >= _SMALLEST
        and usable(weight.dtype)
    )


def packed_convolution(weight: Tensor, **settings: Unpack[Settings]) -> Tensor:
    """The weight [O, I, kh, kw] as `convolve` takes it: an opaque tensor of the same size."""
    channels_last = weight.contiguous(memory_format=torch.channels_last)
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(channels_last, *_in_order(settings), None)
    return packed


def convolve(x: Tensor, packed: Tensor, bias: Tensor | None, **settings: Unpack[Settings]) -> Tensor:
    """F.conv2d with a packed weight. The result is channels-last, as x had better be."""
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, *_in_order(settings), *_NO_FUSION
    )
    return result


def streams(weight: Tensor) -> bool:
    """Whether a convolution is better a product with every pixel's neighbourhood laid out: where its weights outweigh
    the picture, because that reads them faster, and in one layout for all sizes of picture."""
    return weight.shape[1] >= _WIDE and weight.dtype == torch.bfloat16


def packed_neighbourhoods(weight: Tensor) -> Tensor:
    """The weight [O, I, k, k] as `convolve_neighbourhoods` takes it."""
    return packed_linear(weight.permute(0, 2, 3, 1).flatten(1))


def convolve_neighbourhoods(x: Tensor, packed: Tensor, bias: Tensor | None, size: int) -> Tensor:
    """F.conv2d with kernels of size x size, 2 or 3, a padding of 1 and a stride of 1; channels-last."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    squares = padded.unfold(1, size, 1).unfold(2, size, 1)  # [B, h', w', I, size, size]
    return multiply(squares.permute(0, 1, 2, 4, 5, 3).flatten(3), packed, bias).permute(0, 3, 1, 2)


def packed_linear(weight: Tensor) -> Tensor:
    """The weight [O, I] as `multiply` takes it."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
    return packed


def multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """F.linear with a packed weight."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, *_NO_FUSION)
    return result


def _in_order(settings: Settings) -> tuple[list[int], list[int], list[int], int]:
    """As the operators take them."""
    return (
        list(settings["padding"]),
        list(settings["stride"]),
        list(settings["dilation"]),
        settings["groups"],
    )


@cache
def usable(dtype: torch.dtype) -> bool:
    """Whether the operators are there and give what the plain ones give."""
    try:
        return _agrees(dtype)
    except (AttributeError, RuntimeError):
        return False


@torch.inference_mode()
def _agrees(dtype: torch.dtype) -> bool:
    generator = torch.Generator().manual_seed(0)
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    weight = torch.randn(32, 32, 3, 3, generator=generator).to(dtype) / 17
    x = torch.randn(2, 32, 8, 8, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    settings: Settings = {"padding": (1, 1), "stride": (1, 1), "dilation": (1, 1), "groups": 1}
    convolved = convolve(x, packed_convolution(weight, **settings), None, **settings)
    rows, matrix = x[0, :, :, 0].T, weight[:, :, 0, 0]
    multiplied = multiply(rows, packed_linear(matrix), None)
    return torch.allclose(
        convolved.float(), F.conv2d(x, weight, padding=1).float(), atol=tolerance
    ) and torch.allclose(multiplied.float(), F.linear(rows, matrix).float(), atol=tolerance)
