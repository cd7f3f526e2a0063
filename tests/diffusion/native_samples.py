"""What tests of native kernels share: numbers to compute with, and whether a form runs on this machine."""

import torch
from torch import Tensor

from diffusion.networks.native_library import LIBRARY, Library, open_library


def values(*shape: int, dtype: torch.dtype, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Normal numbers, the same for the same seed."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def library_with(function: str, form: str) -> Library | None:
    """The library, if this form of the function was built and this processor runs it."""
    library = open_library(LIBRARY)
    if library is None or not library.has(f"weft_{function}_{form}") or not library.runs(form):
        return None
    return library
