"""Lets go of a mapped file's pages once their content has been converted, so that they do not count as memory."""

from __future__ import annotations

import bisect
import ctypes
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

_MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class FilePages:
    """The address ranges of this process that are files, as they were when asked; empty where that can't be said.

    starts, ends: sorted, in step.
    """

    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def now(cls) -> FilePages:
        """Read from the kernel's list (Linux)."""
        if not _MAPS.exists():
            return cls((), ())
        ranges = []
        for line in _MAPS.read_text().splitlines():
            addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
            if inode != "0":
                start, end = addresses.split("-")
                ranges.append((int(start, 16), int(end, 16)))
        return cls(tuple(start for start, _ in ranges), tuple(end for _, end in ranges))

    def drop(self, tensor: Tensor) -> None:
        """Let the kernel take back the pages that lie wholly inside `tensor`; they are read again if they are touched.

        Does nothing for a tensor that is no part of a mapped file. The mapping must not have been written to.
        """
        start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        place = bisect.bisect_right(self.starts, start) - 1
        if not tensor.is_contiguous() or place < 0 or end > self.ends[place]:
            return
        first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last:
            _libc().madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=os.name == "posix")
