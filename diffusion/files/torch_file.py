"""Reads the files torch.save writes, zip archives and the format before them, with their storages mapped."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from torch import Tensor

from diffusion.files.mapped_file import FETCH_AGAIN, CheckpointError, MappedFile
from diffusion.files.pickle_free import Malformed, Reader, Storage, StoredTensor, read_pickle
from diffusion.files.pickle_names import DTYPES, STORAGE_DTYPES, UNTYPED_STORAGES, Refusal

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LEGACY_LENGTH = struct.Struct("<q")
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""A zip entry's own header: signature, then at byte 26 the lengths of its name and of its extra field."""
LOCAL_SIGNATURE = b"PK\x03\x04"
NESTS = ("state_dict", "model_state_dict", "model", "module")
"""Names under which training programs keep the weights, beside what else they save."""
MAX_DEPTH = 4


@dataclass(frozen=True)
class _Extent:
    """Where a storage's bytes are in the file."""

    start: int
    nbytes: int


_Locate = Callable[[Storage], _Extent | None]


def read_torch_zip(file: MappedFile) -> dict[str, Tensor]:
    """The tensors of a zip file by torch.save, flattened: {"a": {"b": t}} gives "a.b", the weights' own nest nothing.

    Raises CheckpointError for a damaged file, another kind of archive, and a pickle that would run code.
    """
    return _tensors(file, *_open_zip(file))


def read_torch_legacy(file: MappedFile) -> dict[str, Tensor]:
    """The tensors of a file in the form torch.save wrote before 1.6: five pickles, then the storages' bytes.

    Flattened, and raising, as for a zip file.
    """
    return _tensors(file, *_open_legacy(file))


def read_torch_tree(file: MappedFile) -> object:
    """What torch.save was given, in either form, where its nesting counts: tables, lists, texts and numbers, tensors.

    A table, list or tuple that is nested deeper than MAX_DEPTH is None. Raises as for a zip file.
    """
    zipped = bytes(file.data[: len(LOCAL_SIGNATURE)]) == LOCAL_SIGNATURE
    value, locate = _open_zip(file) if zipped else _open_legacy(file)
    return _Tree(file, locate).of("", value, 0)


@dataclass(frozen=True, eq=False)
class _Tree:
    """Puts tensors into their places in nested values. made: by identity, so that what is met twice is made once."""

    file: MappedFile
    locate: _Locate
    made: dict[int, object] = field(default_factory=dict)

    def of(self, name: str, value: object, depth: int) -> object:
        if isinstance(value, StoredTensor):
            return _tensor(self.file, name, value, self.locate)
        if not isinstance(value, dict | list | tuple) or depth > MAX_DEPTH:
            return None if isinstance(value, dict | list | tuple) else value
        if id(value) not in self.made:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inner = {key: self.of(f"{name}.{key}", item, depth + 1) for key, item in items}
            self.made[id(value)] = inner if isinstance(value, dict) else list(inner.values())
        return self.made[id(value)]


def _open_zip(file: MappedFile) -> tuple[object, _Locate]:
    entries = _zip_entries(file)
    pickles = [name for name in entries if PurePosixPath(name).name == "data.pkl"]
    if not pickles:
        raise _not_a_checkpoint(file, entries)
    folder = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{folder}byteorder")
    if order is not None and bytes(file.data[order.start : order.start + order.nbytes]) != b"little":
        raise CheckpointError(
            file.path, "its numbers are in big-endian order", "Save it again on an ordinary machine."
        )
    extent = entries[pickles[0]]
    value, _ = _read_pickle(file, Reader(file.data, extent.start, extent.start + extent.nbytes))
    return value, lambda storage: entries.get(f"{folder}data/{storage.key}")


def _open_legacy(file: MappedFile) -> tuple[object, _Locate]:
    reader = Reader(file.data)
    magic, _ = _read_pickle(file, reader)
    if magic != LEGACY_MAGIC:
        raise CheckpointError(
            file.path,
            "it is a Python pickle that torch.save did not write",
            "Use a checkpoint in .safetensors form; nothing of this file was run.",
        )
    protocol, _ = _read_pickle(file, reader)
    system, _ = _read_pickle(file, reader)
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _damaged(file, "its preamble is not the one torch.save writes")
    value, storages = _read_pickle(file, reader)
    keys, _ = _read_pickle(file, reader)
    extents = _legacy_extents(file, reader.position, keys, storages)
    return value, lambda storage: extents.get(storage.key)


def _read_pickle(file: MappedFile, reader: Reader) -> tuple[object, dict[str, Storage]]:
    try:
        return read_pickle(reader)
    except Refusal as refusal:
        raise CheckpointError(
            file.path,
            f"its pickle refers to {refusal.name}, which no checkpoint needs: a program that trusts the file "
            "would run whatever it holds. It was refused, and nothing of it was run",
            "Delete it unless you know who made it and why; prefer a .safetensors file, which cannot hold code.",
        ) from refusal
    except Malformed as error:
        raise _damaged(file, f"its pickle cannot be read ({error})") from error


def _zip_entries(file: MappedFile) -> dict[str, _Extent]:
    """Where each entry's bytes are. Entries must be stored as they are, as torch.save does."""
    try:
        with zipfile.ZipFile(file.path) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            file.path,
            f"the file is cut short or damaged: it begins as a zip archive and has no directory at its end ({error})",
            FETCH_AGAIN,
        ) from error
    except (OSError, ValueError, NotImplementedError, RuntimeError, struct.error) as error:
        raise _damaged(file, f"its zip directory cannot be read ({error})") from error
    return {info.filename: _entry(file, info) for info in infos}


def _entry(file: MappedFile, info: zipfile.ZipInfo) -> _Extent:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
        raise CheckpointError(
            file.path,
            f"it is a compressed or encrypted zip archive ({info.filename}), which torch.save does not write",
            "If it was packed for sending, unpack it and use the file inside.",
        )
    header = max(info.header_offset, 0)
    local = bytes(file.data[header : header + LOCAL_HEADER.size])
    if len(local) < LOCAL_HEADER.size or not local.startswith(LOCAL_SIGNATURE):
        raise _damaged(file, f"the zip entry {info.filename} is not where the directory says")
    _, name_length, extra_length = LOCAL_HEADER.unpack(local)
    start = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if start + info.file_size > file.size:
        raise _damaged(file, f"the zip entry {info.filename} reaches beyond the end of the file")
    return _Extent(start, info.file_size)


def _not_a_checkpoint(file: MappedFile, entries: Mapping[str, _Extent]) -> CheckpointError:
    return CheckpointError(
        file.path,
        f"it is a zip archive of {len(entries)} files, not a checkpoint (it has no data.pkl; it holds "
        f"{', '.join(list(entries)[:3]) or 'nothing'})",
        "Unpack it and use the model file or folder inside.",
    )


def _legacy_extents(
    file: MappedFile, position: int, keys: object, storages: Mapping[str, Storage]
) -> dict[str, _Extent]:
    """Where each storage is: they follow one another, each after its length in elements."""
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise _damaged(file, "its list of storages does not fit its tensors")
    extents = {}
    for key in keys:
        prefix = bytes(file.data[position : position + LEGACY_LENGTH.size])
        if len(prefix) < LEGACY_LENGTH.size:
            raise _cut_short(file)
        kind = STORAGE_DTYPES.get(str(storages[key].kind))
        nbytes = LEGACY_LENGTH.unpack(prefix)[0] * (kind.itemsize if kind else 1)
        position += LEGACY_LENGTH.size
        if nbytes < 0 or position + nbytes > file.size:
            raise _cut_short(file)
        extents[key] = _Extent(position, nbytes)
        position += nbytes
    return extents


def _tensors(file: MappedFile, value: object, locate: _Locate) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        raise CheckpointError(
            file.path,
            f"it holds a {type(value).__name__} where a checkpoint holds a table of tensors",
            "If it is a whole pickled model, save its state_dict instead.",
        )
    return {name: _tensor(file, name, stored, locate) for name, stored in _flat(_weights_nest(value))}


def _weights_nest(value: dict[object, object]) -> dict[object, object]:
    """The table that holds the weights, inside what a training program saved."""
    for _ in range(MAX_DEPTH):
        inner = [value[name] for name in NESTS if isinstance(value.get(name), dict)]
        nest = next((table for table in inner if isinstance(table, dict) and _holds_tensors(table)), None)
        if nest is None:
            break
        value = nest
    return value


def _holds_tensors(table: dict[object, object]) -> bool:
    """Whether there are tensors in `table` or in a nest inside it."""
    return any(
        isinstance(item, StoredTensor) or (key in NESTS and isinstance(item, dict))
        for key, item in table.items()
    )


def _flat(value: dict[object, object]) -> list[tuple[str, StoredTensor]]:
    """Every tensor in nested tables with its dotted name. A table met twice counts once, so none is endless."""
    found = []
    seen = set[int]()
    waiting = [("", value, 0)]
    while waiting:
        prefix, table, depth = waiting.pop()
        if id(table) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(table))
        for key, item in table.items():
            if isinstance(item, StoredTensor):
                found.append((f"{prefix}{key}", item))
            elif isinstance(item, dict):
                waiting.append((f"{prefix}{key}.", item, depth + 1))
    return found


def _tensor(file: MappedFile, name: str, stored: StoredTensor, locate: _Locate) -> Tensor:
    storage = stored.storage
    kind = str(stored.dtype if str(storage.kind) in UNTYPED_STORAGES and stored.dtype else storage.kind)
    dtype = STORAGE_DTYPES.get(kind) or DTYPES.get(kind)
    if dtype is None:
        raise CheckpointError(
            file.path,
            f"tensor {name} is of the kind {kind}, which Weft cannot read",
            "Use a file in fp32, fp16 or bf16.",
        )
    extent = locate(storage)
    if extent is None:
        raise _damaged(file, f"the numbers of tensor {name} are missing (storage {storage.key})")
    return file.strided(
        name,
        dtype,
        start=extent.start,
        count=extent.nbytes // dtype.itemsize,
        offset=stored.offset,
        shape=stored.shape,
        stride=stored.stride,
    )


def _cut_short(file: MappedFile) -> CheckpointError:
    return CheckpointError(
        file.path, f"the file is cut short: its tensors reach beyond its {file.size} bytes", FETCH_AGAIN
    )


def _damaged(file: MappedFile, detail: str) -> CheckpointError:
    return CheckpointError(file.path, f"the file is cut short or damaged: {detail}", FETCH_AGAIN)
