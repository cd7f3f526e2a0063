"""Where models, pictures and results lie, and safe ways from a name in a workflow to a file there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from graph.errors import UnsafePath

_PLACES = ("input", "output", "temp")
_ANNOTATED = re.compile(r"(?s)(?P<name>.+) \[(?P<place>input|output|temp)\]")
_KIND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIFFUSERS_INDEX = "model_index.json"


@dataclass(frozen=True)
class Folders:
    """The folders of one installation.

    models: roots with one sub-folder per kind: checkpoints, loras, vae, embeddings, diffusers, ... The first root
        that has a file of a name wins.
    input, output, temp: pictures given, results, and what may be thrown away.

    A name is relative to the folder of its kind. Names of kind input, output and temp may say which of the three they
    mean: "picture.png [output]". A model of kind diffusers is a folder with a model_index.json in it. Symbolic links
    are followed, wherever they lead: whoever can place one may read what it points to.
    """

    models: tuple[Path, ...] = (Path("models"),)
    input: Path = Path("input")
    output: Path = Path("output")
    temp: Path = Path("temp")

    def roots(self, kind: str) -> tuple[Path, ...]:
        """The folders that hold files of this kind, whether they exist or not."""
        if kind in _PLACES:
            return ({"input": self.input, "output": self.output, "temp": self.temp}[kind],)
        if not _KIND.fullmatch(kind):
            raise UnsafePath(
                f"{kind!r} is not a kind of file; kinds are names such as 'checkpoints' or 'input'"
            )
        return tuple(root / kind for root in self.models)

    def list(self, kind: str) -> tuple[str, ...]:
        """The names of all files of this kind, sorted, those in sub-folders too.

        Hidden files are left out, and so are links that lead to no file.
        """
        found: set[str] = set()
        for root in self.roots(kind):
            found.update(_models_in_folders(root) if kind == "diffusers" else _files(root))
        return tuple(sorted(found))

    def find(self, kind: str, name: str) -> Path:
        """The file of this name. Raises UnsafePath if it leads outside, FileNotFoundError if there is none."""
        kind, name = _place(kind, name)
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            parts = _safe_parts(spelling)
            for root in self.roots(kind):
                path = root.joinpath(*parts)
                if _is_model_folder(path) if kind == "diffusers" else _is_file(path):
                    return path
        places = ", ".join(str(root) for root in self.roots(kind)) or "no folder at all"
        raise FileNotFoundError(f"there is no file {name!r} of kind {kind} in {places}")

    def inside(self, kind: str, name: str) -> Path:
        """The path that a file of this name has, or would have, in the first folder of its kind.

        Raises UnsafePath for a name that leads outside.
        """
        kind, name = _place(kind, name)
        return self.roots(kind)[0].joinpath(*_safe_parts(name))


def _place(kind: str, name: str) -> tuple[str, str]:
    annotated = _ANNOTATED.fullmatch(name) if kind in _PLACES else None
    return (annotated["place"], annotated["name"]) if annotated else (kind, name)


def _safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a relative path. What any system could read as a way out is refused on every system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not posix.parts or "\0" in name:
        raise UnsafePath(f"{name!r} is not a file name; give a name relative to its folder")
    if posix.is_absolute() or windows.drive or windows.root or ".." in {*posix.parts, *windows.parts}:
        raise UnsafePath(f"{name!r} leads out of its folder; give a name relative to it, without '..'")
    return posix.parts


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_model_folder(path: Path) -> bool:
    return _is_file(path / _DIFFUSERS_INDEX)


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Like os.walk, following links, each real folder once, hidden names left out."""
    visited: set[str] = set()
    for directory, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(directory)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(directory), folders, [name for name in files if not name.startswith(".")]


def _files(root: Path) -> Iterator[str]:
    for directory, _, files in _walk(root):
        for name in files:
            if _is_file(directory / name):
                yield (directory / name).relative_to(root).as_posix()


def _models_in_folders(root: Path) -> Iterator[str]:
    for directory, folders, files in _walk(root):
        if _DIFFUSERS_INDEX in files and directory != root and _is_model_folder(directory):
            folders.clear()
            yield directory.relative_to(root).as_posix()
