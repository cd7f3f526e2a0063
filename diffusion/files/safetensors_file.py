"""Reads .safetensors: a length, a JSON header, then the tensors' bytes, which are mapped and not read.

The format's own library is not used here so that a cut or damaged file can be described, and so that every
format shares one mapping; the layout is that of https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from diffusion.files.mapped_file import FETCH_AGAIN, CheckpointError, MappedFile

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000
"""The format's own limit."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(file: MappedFile) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by name, and the header's `__metadata__`. Raises CheckpointError for a damaged file."""
    header, start = _header(file)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise _damaged(file, "its __metadata__ is not a table of texts")
    extents = {name: _extent(file, name, entry) for name, entry in header.items()}
    end = start + max((last for _, _, last in extents.values()), default=0)
    if file.size < end:
        raise CheckpointError(
            file.path,
            f"the file is cut short: its header describes {end} bytes, and it has {file.size} "
            f"({end - file.size} are missing)",
            FETCH_AGAIN,
        )
    if file.size > end:
        raise _damaged(file, f"it has {file.size - end} bytes that its header does not account for")
    tensors = {
        name: _tensor(file, name, dtype_shape, start, first, last)
        for name, (dtype_shape, first, last) in extents.items()
    }
    return tensors, {str(key): str(value) for key, value in metadata.items()}


def _header(file: MappedFile) -> tuple[dict[str, object], int]:
    """The JSON header and the place of the first data byte."""
    length = int.from_bytes(file.data[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    if file.size < LENGTH_BYTES or start > file.size:
        raise CheckpointError(
            file.path,
            f"the file is cut short: its header alone should take {length} bytes, and it has {file.size} in all",
            FETCH_AGAIN,
        )
    if length > MAX_HEADER:
        raise _damaged(file, f"its header claims {length} bytes, more than the format allows")
    try:
        header = json.loads(file.data[LENGTH_BYTES:start].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header is not readable JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(file, "its header is not a table of tensors")
    return header, start


def _extent(file: MappedFile, name: str, entry: object) -> tuple[tuple[str, list[int]], int, int]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(first), int(last)]} if all(
            type(extent) is int for extent in shape
        ):
            return (dtype, shape), first, last
    raise _damaged(file, f"the header's entry for {name} is not a dtype, a shape and two offsets")


def _tensor(
    file: MappedFile, name: str, dtype_shape: tuple[str, list[int]], start: int, first: int, last: int
) -> Tensor:
    dtype_name, shape = dtype_shape
    dtype = DTYPES.get(dtype_name)
    if dtype is None:
        raise CheckpointError(
            file.path,
            f"tensor {name} has the data type {dtype_name}, which Weft cannot read",
            f"Use a file in one of {', '.join(DTYPES)}.",
        )
    tensor = file.view(name, dtype, start=start + first, shape=shape)
    if first < 0 or tensor.nbytes != last - first:
        raise _damaged(
            file, f"tensor {name} has {last - first} bytes, not the {tensor.nbytes} its shape takes"
        )
    return tensor


def _damaged(file: MappedFile, detail: str) -> CheckpointError:
    return CheckpointError(file.path, f"the file is damaged: {detail}", FETCH_AGAIN)
