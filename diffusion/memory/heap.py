"""The C library's heap (glibc): large pages for large tensors, and freed memory given back. Elsewhere nothing happens.

Left alone, glibc puts tensors of up to 32 MB into one heap, weights among temporaries, where what is freed between them
stays: a quarter of a gigabyte while a UNet is made. And it asks for fresh memory, which costs a page fault and zeros
for every 4 kB, for each of a step's larger activations.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""mallopt's names for them (malloc.h)."""
_APART = 1 << 20
"""From this size on, tensors that are allocated apart get memory of their own, which goes back whole."""
_REUSED, _KEPT = 64 << 20, 256 << 20
"""Activations up to this size are made in the heap, which keeps as much as this for the next."""


def prepare(*, strict: bool) -> None:
    """Settle how this process allocates. strict: nothing freed is kept, for runs within a limit."""
    # torch reads this when it first allocates: from then on, large tensors lie in huge pages.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _thresholds(_APART, _APART) if strict else _thresholds(_REUSED, _KEPT)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Allocate each tensor of some size apart, and give back what is free before and after: for weights, which stay
    when what they were made from goes, and for the few and large maps of an autoencoder."""
    _thresholds(_APART, _APART)
    trim()
    try:
        yield
    finally:
        trim()
        _thresholds(_REUSED, _KEPT)


def trim() -> None:
    """Give what is free in the heap back to the system."""
    with contextlib.suppress(OSError, AttributeError):
        _libc().malloc_trim(0)


def _thresholds(mmap: int, keep: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        _libc().mallopt(_MMAP_THRESHOLD, mmap)
        _libc().mallopt(_TRIM_THRESHOLD, keep)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
