"""The passes between matrix products by the kernels of native/passes.h; None where PyTorch has to make them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor

from diffusion.networks.native_library import Library, native_library

# The fastest first.
FORMS: Mapping[torch.dtype, tuple[str, ...]] = MappingProxyType(
    {torch.bfloat16: ("avx512_bf16",), torch.float32: ("avx512_fp32", "avx2_fp32")}
)


class _GegluCall(ctypes.Structure):
    """GegluCall of native/passes_calls.h, field by field; so the others."""

    _fields_ = (
        ("projected", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("hidden", ctypes.c_int64),
        ("claimed", ctypes.c_int64),
    )


class _LayerNormCall(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_void_p),
        ("added", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("sum", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("wide", ctypes.c_int32),
        ("claimed", ctypes.c_int64),
    )


class _GroupNormCall(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("shift_stride", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("silu", ctypes.c_int32),
        ("wide", ctypes.c_int32),
        ("threads", ctypes.c_int64),
        ("workspace", ctypes.c_void_p),
        ("threads_started", ctypes.c_int64),
        ("measures_claimed", ctypes.c_int64),
        ("measures_done", ctypes.c_int64),
        ("combines_claimed", ctypes.c_int64),
        ("combines_done", ctypes.c_int64),
        ("applies_claimed", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Passes:
    """One form of the passes, for tensors that `passes_for` accepted."""

    form: str
    library: Library

    def geglu(self, projected: Tensor) -> Tensor:
        """[..., 2 * hidden] to [..., hidden]: the first half times GELU of the second."""
        hidden = projected.shape[-1] // 2
        out = torch.empty((*projected.shape[:-1], hidden), dtype=projected.dtype)
        call = _GegluCall(projected.data_ptr(), out.data_ptr(), out.numel() // hidden, hidden)
        self._run("geglu", call)
        return out

    def layer_norm(
        self, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """(x + added, its layer norm), each [..., C]; without `added`, of x. The sum in x's dtype, the norm in the
        weight's, as `added` is."""
        total = x if added is None else torch.empty_like(x)
        out = torch.empty_like(x, dtype=weight.dtype)
        places = (_pointer(each) for each in (x, added, weight, bias, total, out))
        wide = x.dtype != weight.dtype
        self._run("layer_norm", _LayerNormCall(*places, x.numel() // x.shape[-1], x.shape[-1], eps, wide))
        return total, out

    def group_norm(
        self,
        x: Tensor,
        shift: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        *,
        groups: int,
        eps: float,
        silu: bool,
    ) -> Tensor:
        """Group norm of x [B, C, h, w] + shift [B or 1, C], and SiLU after it if wanted; channels-last, in the weight's
        dtype."""
        batch, channels, height, width = x.shape
        out = torch.empty_like(x, dtype=weight.dtype, memory_format=torch.channels_last)
        stride = 0 if shift is None or len(shift) == 1 else channels
        places = (_pointer(each) for each in (x, shift, weight, bias, out))
        threads, wide = torch.get_num_threads(), x.dtype != weight.dtype
        call = _GroupNormCall(
            *places, stride, batch, height * width, channels, groups, eps, silu, wide, threads
        )
        workspace_bytes = self.library.functions[f"weft_group_norm_{self.form}_workspace"]
        workspace_bytes.restype = ctypes.c_int64
        workspace = torch.empty(workspace_bytes(ctypes.byref(call)), dtype=torch.uint8)
        call.workspace = workspace.data_ptr()
        self._run("group_norm", call)
        return out

    def _run(self, name: str, call: ctypes.Structure) -> None:
        work = getattr(self.library.functions, f"weft_{name}_{self.form}")
        self.library.run_in_parallel(work, ctypes.byref(call), torch.get_num_threads(), 0)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def passes_for(x: Tensor, *others: Tensor | None) -> Passes | None:
    """The native passes over x, given these other tensors, or None where PyTorch has to make them.

    The others are of one dtype, x of the same or float32.
    """
    if torch.compiler.is_compiling():
        return None
    given = [x, *(tensor for tensor in others if tensor is not None)]
    if x.numel() == 0 or any(tensor.device.type != "cpu" for tensor in given):
        return None
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return None
    dtype = given[-1].dtype
    if x.dtype not in (dtype, torch.float32) or any(tensor.dtype != dtype for tensor in given[1:]):
        return None
    return best_passes().get(dtype)


@cache
def best_passes() -> Mapping[torch.dtype, Passes]:
    """The form for each dtype, where there is one that this processor runs."""
    library = native_library()
    if library is None:
        return {}
    return {dtype: Passes(form, library) for dtype, form in library.best_forms("geglu", FORMS).items()}
