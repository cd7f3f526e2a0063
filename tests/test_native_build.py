"""Building the native kernels: with the system's compiler, with a poor one, and with none."""

import ctypes
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from diffusion.networks.native_library import LIBRARY, open_library

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """hatch_build.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hatch_build"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "native", tmp_path / "native")
    (tmp_path / "diffusion").mkdir()
    return tmp_path


def _fake_compiler(folder: Path, script: str) -> None:
    folder.mkdir()
    compiler = folder / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: ModuleType) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bare"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(hook.importlib.util, "find_spec", lambda name: None)


class _App:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


def _hook_instance(hook: ModuleType, root: Path, target: str = "wheel") -> tuple[object, _App]:
    app = _App()
    return hook.NativeKernels(str(root), {}, None, None, str(root), target, app), app


@pytest.mark.slow
def test_the_systems_compiler_builds_every_form(hook: ModuleType, source_tree: Path) -> None:
    instance, app = _hook_instance(hook, source_tree)
    build_data: dict[str, object] = {"artifacts": []}
    instance.initialize("standard", build_data)  # type: ignore[attr-defined]
    possible = hook.supported() and hook.compiler() is not None
    assert build_data["artifacts"] == (["diffusion/networks/native/_kernels.so"] if possible else [])
    assert bool(app.warnings) != possible
    if possible:
        library = ctypes.CDLL(str(source_tree / hook.LIBRARY))
        assert all(hasattr(library, f"weft_attention_{name}") for name in hook.SOURCES if name != "cpu")
        assert build_data["pure_python"] is False


def test_a_library_of_other_sources_stays_unused(
    hook: ModuleType, source_tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An update of a checkout changes what the library is called with, before anybody installs it again."""
    result = hook.build(source_tree)
    if result.library is None:
        assert result.warnings
        return
    assert open_library(result.library, source_tree / "native") is not None
    header = source_tree / "native" / "passes_calls.h"
    header.write_text(header.read_text() + "\n")
    assert open_library(result.library, source_tree / "native") is None
    assert "pip install -e ." in caplog.text
    assert open_library(result.library, source_tree / "nowhere") is not None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3, 0.7, 0.9])
def test_a_library_that_was_cut_short_stays_unused(
    share: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is missing of a mapped file would end the process when it is read."""
    # Where no kernels were built, PyTorch's own library is a file of the same kind.
    whole = LIBRARY if LIBRARY.is_file() else Path(torch.__file__).parent / "lib" / "libshm.so"
    content = whole.read_bytes()
    cut = tmp_path / "cut.so"
    cut.write_bytes(content[: int(len(content) * share)])
    with caplog.at_level("INFO"):
        assert open_library(cut) is None
    assert str(cut) in caplog.text


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_installation_goes_on(
    hook: ModuleType, source_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "supported", lambda: True)
    instance, app = _hook_instance(hook, source_tree)
    build_data: dict[str, object] = {"artifacts": []}
    instance.initialize("editable", build_data)  # type: ignore[attr-defined]
    assert build_data == {"artifacts": []}
    assert "no C++ compiler" in app.warnings[0]
    assert "PyTorch's own" in app.warnings[1]
    assert not (source_tree / hook.LIBRARY).exists()


@pytest.mark.usefixtures("no_compiler")
def test_only_a_machine_without_a_compiler_asks_for_one(
    hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "supported", lambda: True)
    instance, _ = _hook_instance(hook, ROOT)
    assert [name.startswith("ziglang") for name in instance.dependencies()] == [True]  # type: ignore[attr-defined]
    sdist, _ = _hook_instance(hook, ROOT, target="sdist")
    assert sdist.dependencies() == []  # type: ignore[attr-defined]
    monkeypatch.setenv("CXX", sys.executable)
    assert instance.dependencies() == []  # type: ignore[attr-defined]


def test_another_kind_of_machine_builds_nothing(
    hook: ModuleType, source_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook.platform, "machine", lambda: "aarch64")
    instance, app = _hook_instance(hook, source_tree)
    build_data: dict[str, object] = {"artifacts": []}
    instance.initialize("standard", build_data)  # type: ignore[attr-defined]
    assert build_data == {"artifacts": []}
    assert instance.dependencies() == []  # type: ignore[attr-defined]
    assert app.warnings


def test_a_compiler_that_fails_is_quoted(
    hook: ModuleType, source_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_compiler(tmp_path / "bin", "echo 'cpu.cpp:1: error: out of luck' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("CXX", raising=False)
    result = hook.build(source_tree)
    assert result.library is None
    assert len(result.warnings) == len(hook.SOURCES)
    assert "out of luck" in result.warnings[0]


@pytest.mark.slow
def test_a_form_that_the_compiler_does_not_know_is_left_out(
    hook: ModuleType, source_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"cpu": (), "avx2_fp32": hook.AVX2, "amx_bf16": ("-mno-such-instructions",)}
    monkeypatch.setattr(hook, "SOURCES", flags)
    result = hook.build(source_tree)
    if hook.compiler() is not None and hook.supported():
        library = ctypes.CDLL(str(result.library))
        assert hasattr(library, "weft_attention_avx2_fp32")
        assert not hasattr(library, "weft_attention_amx_bf16")
        assert [warning.split(".")[0] for warning in result.warnings] == ["amx_bf16"]
