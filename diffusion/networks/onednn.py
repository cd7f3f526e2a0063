"""oneDNN's products and convolutions with weights re-ordered once, instead of at every call.

From eager torch, oneDNN re-orders the weights of a convolution or linear layer each time. The operators that torch's
compiler uses after freezing take weights re-ordered beforehand; they are called here directly. They are no public
interface, so they are checked once, when first asked for, and left alone when they are missing or disagree.
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


def packed_convolution(weight: Tensor, **settings: Unpack[Settings]) -> Tensor:
    """The weight [O, I, kh, kw] as `convolve` takes it: an opaque tensor of the same size."""
    channels_last = weight.contiguous(memory_format=torch.channels_last)
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(channels_last, *_in_order(settings), None)
    return packed


def convolve(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    added: Tensor | None = None,
    **settings: Unpack[Settings],
) -> Tensor:
    """F.conv2d with a packed weight, plus `added`, which may be in float32: then the sum comes so. The result is
    channels-last, as x had better be."""
    operator, moves = torch.ops.mkldnn._convolution_pointwise, _in_order(settings)
    result: Tensor
    if added is not None and added.dtype == x.dtype:
        added = added.contiguous(memory_format=torch.channels_last)
        result = operator.binary(x, added, packed, bias, *moves, "add", None, None, [], None)
        return result
    result = operator.default(x, packed, bias, *moves, *_NO_FUSION)
    return result if added is None else added + result


def packed_linear(weight: Tensor) -> Tensor:
    """The weight [O, I] as `multiply` takes it."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
    return packed


def multiply(x: Tensor, packed: Tensor, bias: Tensor | None, added: Tensor | None = None) -> Tensor:
    """F.linear with a packed weight, plus `added`, which may be in float32: then the sum comes so."""
    operator = torch.ops.mkldnn._linear_pointwise
    result: Tensor
    if added is not None and added.dtype == x.dtype:
        result = operator.binary(x, added, packed, bias, "add")
        return result
    result = operator.default(x, packed, bias, *_NO_FUSION)
    return result if added is None else added + result


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
    except (AttributeError, RuntimeError, TypeError):
        return False


@torch.inference_mode()
def _agrees(dtype: torch.dtype) -> bool:
    generator = torch.Generator().manual_seed(0)
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    weight = torch.randn(32, 32, 3, 3, generator=generator).to(dtype) / 17
    x = torch.randn(2, 32, 8, 8, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    settings: Settings = {"padding": (1, 1), "stride": (1, 1), "dilation": (1, 1), "groups": 1}
    rows, matrix = x[0, :, :, 0].T.contiguous(), weight[:, :, 0, 0]
    kernels, panels = packed_convolution(weight, **settings), packed_linear(matrix)
    convolved, multiplied = F.conv2d(x, weight, padding=1), F.linear(rows, matrix)
    pairs = (
        (convolve(x, kernels, None, **settings), convolved),
        (convolve(x, kernels, None, x, **settings), convolved + x),
        (multiply(rows, panels, None), multiplied),
        (multiply(rows, panels, None, rows), multiplied + rows),
    )
    return all(torch.allclose(found.float(), wanted.float(), atol=tolerance) for found, wanted in pairs)
