"""Builds the native kernels (native/) while Weft is being installed.

Whatever goes wrong here, the installation goes on: without the kernels, PyTorch's operators serve.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilderConfig

LIBRARY = Path("diffusion/networks/native/_kernels.so")

COMMON = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-w")
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512")

# Each source is compiled for the processor that its name says, whatever processor builds it. One that the compiler
# is too old for is left out; only cpu.cpp, which chooses among them, has to succeed.
SOURCES = {
    "cpu": (),
    "avx2_fp32": AVX2,
    "avx512_fp32": AVX512,
    "avx512_bf16": (*AVX512, "-mavx512bf16"),
    "amx_bf16": (*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
}

# Zig compiles for the machine at hand unless told otherwise; this glibc is as old as PyTorch's own wheels allow.
ZIG = (sys.executable, "-m", "ziglang", "c++", "-target", "x86_64-linux-gnu.2.28", "-mcpu=x86_64")


@dataclass(frozen=True)
class Build:
    """What came of a build: the library, if there is one, and what to tell the person installing."""

    library: Path | None
    warnings: tuple[str, ...] = ()


def supported() -> bool:
    """Whether there are kernels for this kind of machine at all."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def system_compiler() -> str | None:
    """The C++ compiler of CXX, or the first one on the PATH."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def compiler() -> tuple[str, ...] | None:
    """The command of the system's compiler, else of the one in PyPI's ziglang, if that is installed."""
    if found := system_compiler():
        return (found,)
    return ZIG if importlib.util.find_spec("ziglang") else None


def digest(sources: Path) -> str:
    """What a library carries of the sources it was built from; native_library.py compares it where they are at hand."""
    files = sorted(path for path in sources.iterdir() if path.suffix in (".h", ".cpp"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def build(root: Path) -> Build:
    """Compiles root/native into root/diffusion/networks/native/_kernels.so."""
    command = compiler()
    if command is None:
        return Build(None, ("no C++ compiler was found",))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        objects = {name: Path(folder, f"{name}.o") for name in SOURCES}

        built_from = f'-DWEFT_BUILT_FROM="{digest(root / "native")}"'

        def compile_one(name: str) -> str | None:
            source = root / "native" / f"{name}.cpp"
            options = (*COMMON, built_from, *SOURCES[name])
            return _run((*command, *options, "-c", str(source), "-o", str(objects[name])))

        faults = dict(zip(SOURCES, pool.map(compile_one, SOURCES), strict=True))
        warnings = tuple(f"{name}.cpp was left out: {fault}" for name, fault in faults.items() if fault)
        if faults["cpu"]:
            return Build(None, warnings)
        linked = Path(folder, LIBRARY.name)
        parts = [str(objects[name]) for name, fault in faults.items() if not fault]
        if fault := _run((*command, "-shared", *parts, "-o", str(linked))):
            return Build(None, (*warnings, f"linking failed: {fault}"))
        library = root / LIBRARY
        try:
            library.parent.mkdir(parents=True, exist_ok=True)
            # Moved into place, so that a process that has the old one loaded keeps it whole.
            fresh = library.with_suffix(".new")
            shutil.copyfile(linked, fresh)
            fresh.replace(library)
        except OSError as fault:
            return Build(None, (*warnings, f"{library} could not be written: {fault}"))
    return Build(library, warnings)


def _run(command: Sequence[str]) -> str | None:
    """Runs a compiler; None if it succeeded, else its last line of complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    return (errors or done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]


class NativeKernels(BuildHookInterface[WheelBuilderConfig]):
    """Adds the library to wheels, and to the source tree of an editable installation."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """A compiler of 80 MB from PyPI, only where the system has none."""
        wanted = self.target_name == "wheel" and supported() and not system_compiler()
        return ["ziglang>=0.13,<1"] if wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds, and tells hatchling what was built."""
        if self.target_name != "wheel":
            return
        result = build(Path(self.root)) if supported() else Build(None, ("this kind of machine has none",))
        for warning in result.warnings:
            self.app.display_warning(f"Native kernels: {warning}")
        if result.library is None:
            self.app.display_warning(
                "Native kernels were not built; PyTorch's own are used. All else is the same."
            )
            return
        build_data["artifacts"].append(LIBRARY.as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-linux_x86_64"
