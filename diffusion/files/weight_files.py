"""Opens any file of weights by what it holds, not by its name, and says what it is when it is something else."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from diffusion.files.mapped_file import FETCH_AGAIN, CheckpointError, MappedFile
from diffusion.files.safetensors_file import LENGTH_BYTES, read_safetensors
from diffusion.files.torch_file import read_torch_legacy, read_torch_tree, read_torch_zip


@dataclass(frozen=True, eq=False)
class WeightFile:
    """A file's tensors by the names they have there, views of its mapping, and its header's texts.

    The tensors are to be read through InFiles, which notices when the file is written to.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    mapped: MappedFile


class _Kind(Enum):
    SAFETENSORS = "a .safetensors file"
    TORCH_ZIP = "a PyTorch file (.ckpt, .pt, .bin)"
    TORCH_LEGACY = "a PyTorch file of the older form (.ckpt, .pt, .bin)"


SAFETENSORS_SUFFIXES = frozenset({".safetensors", ".sft"})
TORCH_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin"})

_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_SIGNATURES: Mapping[bytes, str] = {
    b"GGUF": "a GGUF model",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"RIFF": "a WebP picture or a sound",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"PK\x05\x06": "an empty zip archive",
    b"\x08\x00\x00\x00": "a TensorFlow or ONNX file",
}
_TAR_MAGIC = slice(257, 262)
_HEAD = 1024
_PRINTABLE = frozenset(b"\t\n\r\f") | frozenset(range(32, 127)) | frozenset(range(128, 256))


def read_weights(path: Path) -> WeightFile:
    """Open a .safetensors, .ckpt, .pt, .pth or .bin file. No pickle code is run and no tensor is read.

    Raises CheckpointError when it is missing, empty, cut short, damaged, harmful, or something else altogether.
    """
    _check_is_file(path)
    file = MappedFile.open(path)
    kind = _kind(file)
    _check_suffix(path, kind)
    if kind is _Kind.SAFETENSORS:
        tensors, metadata = read_safetensors(file)
    else:
        tensors = read_torch_zip(file) if kind is _Kind.TORCH_ZIP else read_torch_legacy(file)
        metadata = {}
    if not tensors:
        raise CheckpointError(
            path, f"it is {kind.value} without any tensors", "Check what was saved into it."
        )
    return WeightFile(path, MappingProxyType(tensors), MappingProxyType(metadata), file)


def read_tree(path: Path) -> object:
    """What a .pt, .ckpt, .pth or .bin file holds, nested as it was saved; its tensors are views of the file.

    Raises CheckpointError as `read_weights` does, and for a .safetensors file, which nests nothing.
    """
    _check_is_file(path)
    file = MappedFile.open(path)
    kind = _kind(file)
    _check_suffix(path, kind)
    if kind is _Kind.SAFETENSORS:
        raise CheckpointError(
            path, "it is a .safetensors file, which holds nothing but tensors", "Use a .pt file."
        )
    return read_torch_tree(file)


def _check_is_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise _folder(path)
        status = path.stat()
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file", "Check its name and folder.") from error
    except OSError as error:
        raise CheckpointError(
            path, f"cannot be looked at ({error})", "Check its name and permissions."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(path, "it is not an ordinary file", "Choose a weight file.")
    if status.st_size == 0:
        raise CheckpointError(path, "the file is empty", FETCH_AGAIN)


def _folder(path: Path) -> CheckpointError:
    if (path / "model_index.json").is_file():
        return CheckpointError(
            path,
            "it is a model folder in diffusers form, not a file",
            "Load it with the DiffusersLoader node.",
        )
    return CheckpointError(path, "it is a folder, not a file", "Choose a weight file inside it.")


def _kind(file: MappedFile) -> _Kind:
    head = bytes(file.data[:_HEAD])
    if head.startswith(b"PK\x03\x04"):
        return _Kind.TORCH_ZIP
    if head.startswith(_PICKLE_STARTS) and head[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{":
        return _Kind.TORCH_LEGACY
    if head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{" and not _is_text(head):
        return _Kind.SAFETENSORS
    raise _something_else(file.path, head, file.size)


def _something_else(path: Path, head: bytes, size: int) -> CheckpointError:
    start = head.lstrip().lower()
    known = next((what for signature, what in _SIGNATURES.items() if head.startswith(signature)), None)
    if head.startswith(b"version https://git-lfs"):
        return CheckpointError(
            path,
            f"it is a git-lfs pointer, {size} bytes of text that stand for the real file",
            "Run `git lfs pull` where it came from, or fetch the file itself.",
        )
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return CheckpointError(
            path,
            "it is a web page: the download brought a page, perhaps one to log in, instead of the file",
            "Fetch it with a browser, or with a link that leads to the file itself.",
        )
    if known or head[_TAR_MAGIC] == b"ustar":
        return CheckpointError(path, f"it is {known or 'a tar archive'}, not a file of weights", _USE_WEIGHTS)
    if not any(head):
        return CheckpointError(
            path, "it begins with nothing but zero bytes, as a download that never finished", FETCH_AGAIN
        )
    if _is_text(head):
        return CheckpointError(path, "it is a text file, not a file of weights", _USE_WEIGHTS)
    return CheckpointError(
        path,
        "it begins neither as a .safetensors file nor as a PyTorch file does",
        FETCH_AGAIN + " " + _USE_WEIGHTS,
    )


_USE_WEIGHTS = "Weft reads .safetensors, .ckpt, .pt, .pth and .bin files of weights."


def _is_text(head: bytes) -> bool:
    return all(byte in _PRINTABLE for byte in head)


def _check_suffix(path: Path, kind: _Kind) -> None:
    """A PyTorch file under a name that promises the absence of code, or the reverse, is a mistake worth naming."""
    wanted = SAFETENSORS_SUFFIXES if kind is _Kind.SAFETENSORS else TORCH_SUFFIXES
    if path.suffix.lower() in wanted:
        return
    better = path.with_suffix(".safetensors" if kind is _Kind.SAFETENSORS else ".ckpt").name
    raise CheckpointError(
        path, f"its name says something else, but it is {kind.value}", f"Rename it to {better}."
    )
