"""Brings in nodes of third parties: installed packages, and files or packages in custom_nodes folders."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from graph.errors import DeclarationError
from graph.registry import ImportProblem, Registry, specs_in
from graph.spec import NodeSpec

GROUP = "weft.nodes"
_PACKAGE = "weft_custom_nodes"


def discover(registry: Registry, folders: Iterable[Path] = (), *, group: str | None = GROUP) -> Registry:
    """`registry` with the nodes of third parties, whose code is thereby run.

    folders: each of their *.py files and packages adds the nodes in it; what is hidden, starts with an underscore or
    ends in ".disabled" is left alone. group: of entry points of installed packages; None for none. An entry point
    names a module or a node.

    Whatever fails to import is listed in the registry's problems with its traceback, or with what is wrong if a node in
    it is declared wrongly. The rest is brought in.
    """
    if group is not None:
        for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
            registry = _added(registry, f"entry point {point.name} = {point.value}", _loader(point))
    for folder in folders:
        for path in _candidates(folder):
            registry = _added(registry, str(path), _importer(path))
    return registry


def _added(registry: Registry, source: str, load: Callable[[], ModuleType | Callable[..., Any]]) -> Registry:
    specs: list[NodeSpec] = []
    try:
        specs.extend(specs_in([load()]))
    except DeclarationError as error:
        return registry.with_nodes([], [ImportProblem(source, str(error))])
    except (Exception, SystemExit):
        return registry.with_nodes([], [ImportProblem(source, traceback.format_exc())])
    return registry.with_nodes(specs)


def _loader(point: EntryPoint) -> Callable[[], ModuleType | Callable[..., Any]]:
    def load() -> ModuleType | Callable[..., Any]:
        loaded: ModuleType | Callable[..., Any] = point.load()
        return loaded

    return load


def _candidates(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")) or path.name.endswith(".disabled"):
            continue
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            yield path


def _importer(path: Path) -> Callable[[], ModuleType]:
    """Imports a file or package under a name of its own, so that it cannot hide another module of its name."""

    def load() -> ModuleType:
        folder_name = "".join(letter if letter.isalnum() else "_" for letter in str(path.resolve().parent))
        name = f"{_PACKAGE}.{folder_name}.{path.stem if path.is_file() else path.name.replace('.', '_')}"
        file = path if path.is_file() else path / "__init__.py"
        inside = None if path.is_file() else [str(path)]
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be imported as a module")
        module = importlib.util.module_from_spec(spec)
        known = set(sys.modules)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for added in set(sys.modules) - known:
                if added == name or added.startswith(f"{name}."):
                    del sys.modules[added]
            raise
        return module

    return load
