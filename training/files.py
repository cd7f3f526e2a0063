"""Writes safetensors files whole or not at all, the same bytes for the same content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, largest: int | None = None
) -> None:
    """Write tensors and metadata. Raises ValueError, and writes nothing, above `largest` bytes."""
    content = _packed(tensors, metadata)
    if largest is not None and len(content) > largest:
        raise ValueError(f"{path} would be larger than {largest} bytes; make the networks smaller")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    temporary.replace(path)


def _packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file's bytes. The library itself puts metadata in an order that changes from one call to the next."""
    plain = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    size = int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(plain[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + plain[8 + size :]
