"""The library of native kernels (native/), and the threads that they work on. It is optional: see `native_allowed`."""

import ctypes
import hashlib
import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

LIBRARY = Path(__file__).parent / "native" / "_kernels.so"
SOURCES = Path(__file__).parents[2] / "native"
"""There in a checkout, where they may be newer than the library; an installed library came with its program."""


@dataclass(frozen=True)
class Library:
    """The opened library, and what calls one of its functions on all of PyTorch's threads at once."""

    functions: ctypes.CDLL
    run_in_parallel: Callable[..., None]

    def runs(self, form: str) -> bool:
        """Whether this processor, and this system, can run kernels of the form."""
        return bool(self.functions.weft_cpu_runs(form.encode()))

    def best_forms(self, function: str, forms: Mapping[torch.dtype, Sequence[str]]) -> dict[torch.dtype, str]:
        """For each dtype the first form of the function that was built and that this processor runs."""
        found: dict[torch.dtype, str] = {}
        for dtype, named in forms.items():
            for form in named:
                if self.has(f"weft_{function}_{form}") and self.runs(form):
                    found.setdefault(dtype, form)
        return found

    def has(self, name: str) -> bool:
        """Whether the compiler that built the library was able to build this function."""
        return hasattr(self.functions, name)


def native_allowed() -> bool:
    """Whether native kernels may be used at all: WEFT_NATIVE=0 says no."""
    return os.environ.get("WEFT_NATIVE", "1") != "0"


@cache
def native_library() -> Library | None:
    """The library of this installation, opened once, or None where it may not or can't be used."""
    return open_library(LIBRARY) if native_allowed() else None


def open_library(path: Path, sources: Path = SOURCES) -> Library | None:
    """The library at `path`, or None where there is none that works, or none of these sources; the log says why."""
    if not path.exists():
        logger.info("The native kernels were not built (%s is missing)", path)
        return None
    try:
        if not _whole(path):
            raise OSError(f"{path} is cut short")
        functions = ctypes.CDLL(str(path))
        # Through PyTorch's library, the OpenMP that it is linked to: a second pool of threads would compete with
        # the one that PyTorch's operators use for the same cores.
        torch_library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        run_in_parallel = torch_library.GOMP_parallel
        functions.weft_cpu_runs  # noqa: B018 - is it ours?
    except (OSError, AttributeError) as fault:
        logger.info("The native kernels cannot be used: %s", fault)
        return None
    if (sources / "cpu.cpp").is_file() and _built_from(functions) != _digest(sources):
        logger.warning(
            "The native kernels are not those of this program and stay unused: install it again (pip install -e .)"
        )
        return None
    run_in_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    run_in_parallel.restype = None
    return Library(functions, run_in_parallel)


def _whole(path: Path) -> bool:
    """Whether the file holds all that its program headers (ELF, 64 bits) speak of: what lies beyond its end would end
    the process when it is read, and no exception would tell."""
    with path.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or not header.startswith(b"\x7fELF\x02"):
            return True  # none that can be opened: the loader says so
        (at,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(at)
        table = file.read(size * count)
        if size < 56 or len(table) < size * count:
            return False
        entries = [struct.unpack_from("<8x Q 16x Q", table, size * number) for number in range(count)]
    return all(offset + length <= path.stat().st_size for offset, length in entries)


def _built_from(functions: ctypes.CDLL) -> str:
    """The digest of the library's sources; empty for a library that does not tell."""
    try:
        tell = functions.weft_built_from
    except AttributeError:
        return ""
    tell.restype = ctypes.c_char_p
    return str(tell().decode())


def _digest(sources: Path) -> str:
    """As hatch_build.py makes it: calls by an older library's rules would write where they should not."""
    files = sorted(path for path in sources.iterdir() if path.suffix in (".h", ".cpp"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
