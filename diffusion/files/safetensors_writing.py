"""Writes .safetensors one tensor at a time, so that a file of any size takes the memory of its largest tensor.

The layout is that of https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import torch
from torch import Tensor

from diffusion.files.safetensors_file import DTYPES, LENGTH_BYTES

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT = 8


@dataclass(frozen=True)
class Stored:
    """A tensor to be written: what it will be, and what makes it when its turn comes."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> Stored:
        """A tensor that is there already."""
        return cls(tensor.dtype, tuple(tensor.shape), lambda: tensor)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write_safetensors(file: BinaryIO, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> None:
    """Write these tensors, in order. Raises ValueError when one is not what it was said to be, or not finite."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, stored in tensors.items():
        start, end = end, end + stored.nbytes
        entry = {"dtype": _NAMES[stored.dtype], "shape": list(stored.shape), "data_offsets": [start, end]}
        header[name] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(len(text).to_bytes(LENGTH_BYTES, "little"))
    file.write(text)
    for name, stored in tensors.items():
        file.write(_content(name, stored))


def _content(name: str, stored: Stored) -> memoryview:
    tensor = stored.make().to("cpu", stored.dtype).contiguous()
    if tuple(tensor.shape) != stored.shape:
        raise ValueError(f"{name} is {list(tensor.shape)} and was to be {list(stored.shape)}")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
        raise ValueError(
            f"{name} would be saved with NaN or infinite values: it was spoiled, or is too large for {stored.dtype}. "
            "Look at what was merged or loaded, and at its strengths."
        )
    return tensor.reshape(-1).view(torch.uint8).numpy().data
