"""Products with weights by the kernels of native/products.h; None where PyTorch has to make them."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor

from diffusion.networks.native_library import Library, native_library

# The fastest first. bf16 without AMX is left to oneDNN.
FORMS: Mapping[torch.dtype, tuple[str, ...]] = MappingProxyType(
    {torch.bfloat16: ("amx_bf16",), torch.float32: ("avx512_fp32", "avx2_fp32")}
)
_GROUPS: Mapping[str, int] = MappingProxyType({"amx_bf16": 16, "avx512_fp32": 24, "avx2_fp32": 24})
"""Rows that the kernels take at once."""
_PANEL, _STEP = 32, 32
"""Columns come in panels of this many, depth in steps of this many or half of it."""
_BLOCK_ROWS, _FEW_ROWS = 256, 512
_BLOCK_ROWS_GATED = 128
"""Rows that are worked on together; a gate leaves less room beside them."""


class _ProductCall(ctypes.Structure):
    """ProductCall of native/products_calls.h, field by field."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("added", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("gated", ctypes.c_int64),
        ("wide_added", ctypes.c_int64),
        ("wide_out", ctypes.c_int64),
        ("kernel", ctypes.c_int64),
        ("stride", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("out_height", ctypes.c_int64),
        ("out_width", ctypes.c_int64),
        ("block_rows", ctypes.c_int64),
        ("chunks", ctypes.c_int64),
        ("workspace_bytes", ctypes.c_int64),
        ("workspace", ctypes.c_void_p),
        ("threads_started", ctypes.c_int64),
        ("claimed", ctypes.c_int64),
    )


class _PackCall(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("gated", ctypes.c_int64),
        ("claimed", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Squares:
    """The neighbourhoods of a picture's pixels: size x size, beginning one above and to the left, `stride` apart."""

    size: int
    stride: int = 1

    def out_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what a convolution with a padding of 1 makes of a picture of this size."""
        return (height + 2 - self.size) // self.stride + 1, (width + 2 - self.size) // self.stride + 1


@dataclass(frozen=True)
class Products:
    """The products of tensors of one dtype, for weights that `products_for` accepts."""

    form: str
    library: Library

    def pack(self, weight: Tensor, *, gated: bool = False) -> Tensor:
        """weight [O, I], I and O multiples of 32, laid out for `multiply`; still of that shape."""
        weight = weight.contiguous()
        packed = torch.empty_like(weight)
        call = _PackCall(weight.data_ptr(), packed.data_ptr(), *weight.shape, gated)
        work = self.library.functions[f"weft_product_{self.form}_pack"]
        self.library.run_in_parallel(work, ctypes.byref(call), torch.get_num_threads(), 0)
        return packed

    def multiply(
        self,
        x: Tensor,
        packed: Tensor,
        bias: Tensor | None,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """x [..., I] times the weight, plus bias [O] and `added` [..., O].

        `added` and the result, whose dtype that is, may be in float32 whatever the rest is.
        """
        x = x.contiguous()
        added = None if added is None else added.contiguous()
        out = torch.empty((*x.shape[:-1], packed.shape[0]), dtype=dtype or x.dtype)
        return self._run(_call(x, packed, bias, added, out, x.numel() // x.shape[-1]), out)

    def gate(self, x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
        """The first half of `multiply` with a weight packed as gated, times GELU of the second: [..., O / 2]."""
        x = x.contiguous()
        out = torch.empty((*x.shape[:-1], packed.shape[0] // 2), dtype=x.dtype)
        call = _call(x, packed, bias, None, out, x.numel() // x.shape[-1])
        call.gated = 1
        return self._run(call, out)

    def convolve(
        self,
        x: Tensor,
        packed: Tensor,
        bias: Tensor | None,
        squares: Squares,
        added: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The picture [B, C, h, w] convolved with a padding of 1, channels-last, plus `added` of the result's shape;
        that and the result may be in float32, as for `multiply`.

        packed: the kernels [O, size, size, C] as [O, size * size * C].
        """
        pixels = x.permute(0, 2, 3, 1).contiguous()
        batch, height, width, _ = pixels.shape
        out_height, out_width = squares.out_size(height, width)
        added = None if added is None else added.permute(0, 2, 3, 1).contiguous()
        shape = (batch, out_height, out_width, packed.shape[0])
        out = torch.empty(shape, dtype=dtype or x.dtype)
        call = _call(pixels, packed, bias, added, out, batch * out_height * out_width, squares.size)
        call.stride = squares.stride
        call.height, call.width, call.out_height, call.out_width = height, width, out_height, out_width
        return self._run(call, out).permute(0, 3, 1, 2)

    def _run(self, call: _ProductCall, out: Tensor) -> Tensor:
        if out.numel() == 0:
            return out
        functions, threads = self.library.functions, torch.get_num_threads()
        call.block_rows, call.chunks = _shares(call, threads, _GROUPS[self.form])
        workspace_bytes = functions[f"weft_product_{self.form}_workspace"]
        workspace_bytes.restype = ctypes.c_int64
        call.workspace_bytes = workspace_bytes(ctypes.byref(call))
        workspace = torch.empty(call.workspace_bytes * threads, dtype=torch.uint8)
        call.workspace = workspace.data_ptr()
        work = functions[f"weft_product_{self.form}"]
        self.library.run_in_parallel(work, ctypes.byref(call), threads, 0)
        return out


def products_for(weight: Tensor) -> Products | None:
    """The native products, if there are any for a weight [O, I], or [O, I, size, size] of a convolution."""
    if weight.shape[0] % _PANEL or weight.shape[1] % _STEP:
        return None
    return best_products().get(weight.dtype)


@cache
def best_products() -> Mapping[torch.dtype, Products]:
    """The form for each dtype, where there is one that this processor runs."""
    library = native_library()
    if library is None:
        return {}
    return {dtype: Products(form, library) for dtype, form in library.best_forms("product", FORMS).items()}


def _call(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    added: Tensor | None,
    out: Tensor,
    rows: int,
    kernel: int = 1,
) -> _ProductCall:
    """Raises ValueError for tensors that do not belong together: the kernels read memory as they are told."""
    given = [tensor for tensor in (x, bias, added, out) if tensor is not None]
    wide = {id(tensor) for tensor in (added, out) if tensor is not None and tensor.dtype == torch.float32}
    if any(
        tensor.device != packed.device or (tensor.dtype != packed.dtype and id(tensor) not in wide)
        for tensor in given
    ):
        raise ValueError(
            f"a weight in {packed.dtype} was to meet {[(t.dtype, str(t.device)) for t in given]}"
        )
    if x.shape[-1] * kernel**2 != packed.shape[1]:
        raise ValueError(f"a weight of {list(packed.shape)} was to meet numbers of {list(x.shape)}")
    if (added is not None and added.shape != out.shape) or (bias is not None and len(bias) != len(packed)):
        raise ValueError(f"what is added to a product of {list(out.shape)} has another shape")
    places = (None if tensor is None else tensor.data_ptr() for tensor in (x, packed, bias, added, out))
    call = _ProductCall(*places, rows, packed.shape[1], packed.shape[0], kernel=kernel)
    call.wide_added = added is not None and added.dtype != packed.dtype
    call.wide_out = out.dtype != packed.dtype
    return call


def _shares(call: _ProductCall, threads: int, group: int) -> tuple[int, int]:
    """(rows of a block, parts that the columns are cut into).

    Few rows are shared by columns, so that the weights, which outweigh them, are read by one thread each; many rows by
    rows, in as many blocks as keep all threads busy.
    """
    most = _BLOCK_ROWS_GATED if call.gated else _BLOCK_ROWS
    blocks = math.ceil(call.rows / most)
    if call.rows > _FEW_ROWS:
        blocks = math.ceil(blocks / threads) * threads if blocks > threads else blocks
        chunks = math.ceil(threads / blocks)
    else:
        chunks = threads
    block_rows = math.ceil(call.rows / blocks / group) * group
    return block_rows, min(chunks, call.columns // _PANEL)
