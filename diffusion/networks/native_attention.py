"""Attention by the kernels of native/: which of them this machine can run, and the call of one.

They are optional. WEFT_NATIVE=0, a library that was never built or a processor that runs none of them leave
PyTorch's own attention in place, and the log says once which it is.
"""

import ctypes
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from diffusion.networks.native_library import LIBRARY, Library, native_allowed, open_library

logger = logging.getLogger(__name__)

# The fastest first. A processor's own form or none: PyTorch's attention beats the forms of lesser processors.
FORMS: Mapping[torch.dtype, tuple[str, ...]] = MappingProxyType(
    {torch.bfloat16: ("amx_bf16", "avx512_bf16"), torch.float32: ("avx512_fp32", "avx2_fp32")}
)

# The widest heads that gain. The wider the head, the more of the work is products, and PyTorch's are as fast.
MAX_WIDTH: Mapping[torch.dtype, int] = MappingProxyType({torch.bfloat16: 160, torch.float32: 80})


class _Tokens(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("batch_stride", ctypes.c_int64),
        ("token_stride", ctypes.c_int64),
    )

    @classmethod
    def of(cls, tokens: Tensor) -> "_Tokens":
        return cls(tokens.data_ptr(), tokens.stride(0), tokens.stride(1))


class _AttentionCall(ctypes.Structure):
    """AttentionCall of native/attention.h, field by field."""

    _fields_ = (
        ("query", _Tokens),
        ("key", _Tokens),
        ("value", _Tokens),
        ("out", _Tokens),
        ("batch", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("queries", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("threads", ctypes.c_int32),
        ("workspace", ctypes.c_void_p),
        ("threads_started", ctypes.c_int64),
        ("packs_claimed", ctypes.c_int64),
        ("packs_done", ctypes.c_int64),
        ("blocks_claimed", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Kernel:
    """One form of the kernel: what sizes its scratch memory, does a thread's share of a call, starts threads."""

    name: str
    workspace_bytes: Callable[..., int]
    work: Callable[..., None]
    run_in_parallel: Callable[..., None]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
        """Attention as `diffusion.networks.attention.attention` defines it, for tensors that `kernel_for` accepted."""
        batch, queries, channels = q.shape
        width = channels // num_heads
        out = torch.empty(q.shape, dtype=q.dtype)
        tensors = (_Tokens.of(tokens) for tokens in (q, k, v, out))
        threads = torch.get_num_threads()
        call = _AttentionCall(*tensors, batch, num_heads, queries, k.shape[1], width, width**-0.5, threads)
        workspace = torch.empty(self.workspace_bytes(ctypes.byref(call)), dtype=torch.uint8)
        call.workspace = workspace.data_ptr()
        self.run_in_parallel(self.work, ctypes.byref(call), threads, 0)
        return out


def kernel_for(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Kernel | None:
    """The kernel that computes this attention, or None where PyTorch has to."""
    if torch.compiler.is_compiling() or q.device.type != "cpu":
        return None
    if torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v)):
        return None
    kernel = best_kernels().get(q.dtype)
    fits = (
        kernel is not None
        and k.dtype == v.dtype == q.dtype
        and k.shape == v.shape
        and q.shape[::2] == k.shape[::2]
        and 0 < q.shape[2] // num_heads <= MAX_WIDTH[q.dtype]
        and q.numel() > 0 < k.numel()
        and all(t.stride(2) == 1 for t in (q, k, v))
    )
    return kernel if fits else None


def available(dtype: torch.dtype) -> bool:
    """Whether attention in this dtype is computed by a native kernel here."""
    return dtype in best_kernels()


@cache
def best_kernels() -> Mapping[torch.dtype, Kernel]:
    """The kernel for each dtype, or none at all; logs the choice."""
    if not native_allowed():
        logger.info("Attention on the CPU: PyTorch's own (WEFT_NATIVE=0)")
        return {}
    kernels = load_kernels(LIBRARY)
    firsts = {
        dtype: next((form for form in forms if form in kernels), None) for dtype, forms in FORMS.items()
    }
    best = {dtype: kernel for dtype, form in firsts.items() if form and (kernel := kernels[form])}
    chosen = ", ".join(f"{kernel.name} for {str(dtype)[6:]}" for dtype, kernel in best.items())
    logger.info("Attention on the CPU: %s", f"native, {chosen}" if best else "PyTorch's own")
    return best


def load_kernels(path: Path) -> dict[str, Kernel | None]:
    """The forms that this processor can run, None in place of one that the compiler had to leave out.

    Empty if the library cannot be loaded.
    """
    library = open_library(path)
    if library is None:
        return {}
    return {
        form: _kernel(library, form) if library.has(f"weft_attention_{form}") else None
        for forms in FORMS.values()
        for form in forms
        if library.runs(form)
    }


def _kernel(library: Library, form: str) -> Kernel:
    workspace_bytes = library.functions[f"weft_attention_{form}_workspace"]
    workspace_bytes.restype = ctypes.c_int64
    work = library.functions[f"weft_attention_{form}"]
    return Kernel(form, workspace_bytes, work, library.run_in_parallel)
