"""A file in memory without being read: tensors are views of its private mapping, touched only when used."""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion.files.stamp import FileStamp


class CheckpointError(ValueError):
    """A weight file that cannot be used. The message says which file, what is wrong, and what to do next."""

    def __init__(self, path: Path | str, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.path = Path(path)
        self.problem = problem
        self.remedy = remedy


class FileChanged(CheckpointError):
    """A weight file that was written to while it was in use."""


FETCH_AGAIN = "Fetch the file again, and compare its size with the one its source gives."


_RUN_AGAIN = (
    "Run again once nothing writes to it. A file in use is safely replaced by renaming another over it."
)


@dataclass(frozen=True, eq=False)
class MappedFile:
    """A file's bytes, mapped copy-on-write: nothing written to a tensor ever reaches the file.

    A file that is renamed over or deleted stays as it is for whoever has it mapped, one that is written to does not.
    descriptor: of the open file, closed when the mapping is let go of. stamp: as it was when it was opened.
    """

    path: Path
    data: mmap.mmap
    descriptor: int
    stamp: FileStamp

    @classmethod
    def open(cls, path: Path) -> MappedFile:
        """Map `path`, a file that is not empty. Raises CheckpointError when it cannot be opened."""
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                descriptor = os.dup(file.fileno())
        except (OSError, ValueError) as error:
            raise CheckpointError(
                path, f"cannot be opened ({error})", "Check the file's permissions."
            ) from error
        mapped = cls(path, data, descriptor, FileStamp.of(descriptor))
        weakref.finalize(mapped, os.close, descriptor)
        return mapped

    def check(self) -> None:
        """Raise FileChanged if the file was written to since it was opened.

        It goes unnoticed when a program writes in place, keeps the size, and puts back the time.
        """
        now = FileStamp.of(self.descriptor)
        if now != self.stamp:
            sizes = f" (it had {self.size} bytes, now {now.size})" if now.size != self.size else ""
            raise FileChanged(self.path, f"the file changed while it was in use{sizes}", _RUN_AGAIN)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data)

    def view(self, name: str, dtype: torch.dtype, *, start: int, shape: Sequence[int]) -> Tensor:
        """The contiguous tensor whose first byte is at `start`. Any byte may be first: nothing is aligned."""
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        count = math.prod(shape)
        return self.strided(name, dtype, start=start, count=count, offset=0, shape=shape, stride=strides)

    def strided(
        self,
        name: str,
        dtype: torch.dtype,
        *,
        start: int,
        count: int,
        offset: int,
        shape: Sequence[int],
        stride: Sequence[int],
    ) -> Tensor:
        """A strided view of the `count` elements at `start`. Raises CheckpointError when it would reach outside."""
        if not self._fits(dtype, start, count, offset, shape, stride):
            raise CheckpointError(
                self.path, f"tensor {name} lies outside the data that the file has for it", FETCH_AGAIN
            )
        try:
            if math.prod(shape) == 0:
                return torch.empty(tuple(shape), dtype=dtype)
            whole = torch.frombuffer(self.data, dtype=dtype, count=count, offset=start)
            return whole.as_strided(tuple(shape), tuple(stride), offset)
        except (RuntimeError, ValueError, OverflowError) as error:
            raise CheckpointError(self.path, f"tensor {name} has an impossible shape", FETCH_AGAIN) from error

    def _fits(
        self,
        dtype: torch.dtype,
        start: int,
        count: int,
        offset: int,
        shape: Sequence[int],
        stride: Sequence[int],
    ) -> bool:
        if len(shape) != len(stride) or min((*shape, *stride, start, count, offset)) < 0:
            return False
        if start + count * dtype.itemsize > self.size:
            return False
        if math.prod(shape) == 0:
            return max(shape) <= self.size
        return offset + sum((extent - 1) * step for extent, step in zip(shape, stride, strict=True)) < count
