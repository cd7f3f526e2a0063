"""A UNet whose repeated blocks run through PyTorch's compiler: as few pieces as possible are compiled, each once."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from diffusion.networks.unet_blocks import ResBlock, TransformerBlock

BACKENDS = ("inductor", "cudagraphs")
_BLOCKS: tuple[type[nn.Module], ...] = (ResBlock, TransformerBlock)
_FORMS = 64
"""How many forms of a block may be compiled: one for each number of channels, and more when sizes change."""
_COMPILER = ("torch._dynamo", "torch._inductor")


class CompilationError(RuntimeError):
    """The compiler, or what it needs, is not there or has failed; the message says what to do."""


@dataclass(frozen=True, eq=False)
class _CompiledBlock:
    """The `forward` of a block. It holds no reference to the block, which would keep that for ever."""

    block: weakref.ref[nn.Module]
    compiled: Callable[..., Any]
    backend: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        block = self.block()
        assert block is not None
        try:
            with torch._dynamo.config.patch(recompile_limit=_FORMS):
                return self.compiled(block, *args, **kwargs)
        except Exception as error:
            if not type(error).__module__.startswith(_COMPILER):
                raise
            cause = getattr(error, "inner_exception", error)
            said = str(cause).strip().splitlines()
            reason = said[0] if said else type(cause).__name__
            raise CompilationError(
                f"The backend {self.backend!r} could not compile the model: {reason.rstrip('.')}. Install what this "
                "names, or take the TorchCompileModel node out."
            ) from error


def compile_blocks(network: nn.Module, backend: str) -> None:
    """Give the repeated blocks of `network` compiled entry points, which are made when they are first called.

    Blocks of equal shapes share what is compiled. Raises CompilationError when they are called and that fails.
    """
    compiled = {kind: torch.compile(kind.forward, backend=backend) for kind in _BLOCKS}
    for block in network.modules():
        kind = next((kind for kind in _BLOCKS if isinstance(block, kind)), None)
        if kind is not None and not isinstance(block.forward, _CompiledBlock):
            block.forward = _CompiledBlock(weakref.ref(block), compiled[kind], backend)


def check_backend(backend: str, device: torch.device) -> None:
    """Raise CompilationError when this backend cannot work on this device with what is installed."""
    if backend == "cudagraphs" and device.type != "cuda":
        raise CompilationError(
            f"The backend 'cudagraphs' needs a CUDA device, and the model computes on {device}. Choose backend "
            "'inductor', compute with --device cuda, or take TorchCompileModel out."
        )
    if backend != "inductor":
        return
    if device.type == "cuda" and find_spec("triton") is None:
        raise CompilationError(
            "The backend 'inductor' needs the package triton on a CUDA device, and it is not installed. Install it "
            "(pip install triton), or take TorchCompileModel out."
        )
    if device.type == "cpu" and not _host_compiler():
        raise CompilationError(
            "The backend 'inductor' needs a C++ compiler, and there is none. Install g++ (or name another in the "
            "environment variable CXX), or take TorchCompileModel out."
        )


def _host_compiler() -> bool:
    named = os.environ.get("CXX")
    candidates = [named] if named else ["g++", "clang++", "cl"]
    return any(shutil.which(candidate.split()[0]) for candidate in candidates if candidate.strip())
