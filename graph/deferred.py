"""Specifications of nodes whose modules are imported when they are asked for: a run loads what it needs alone."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping

from graph.collecting import collection_paused
from graph.errors import DeclarationError
from graph.spec import NodeSpec, find_spec


class DeferredSpecs(Mapping[str, NodeSpec]):
    """Specifications by class id. A module is imported, once, when a node of it is asked for.

    Raises DeclarationError when one class id is listed for two modules, and, when it is asked for, for a node that its
    module does not declare.
    """

    def __init__(self, modules: Mapping[str, Iterable[str]]) -> None:
        self._modules: dict[str, str] = {}
        self._read: dict[str, NodeSpec] = {}
        for module, names in modules.items():
            for name in names:
                other = self._modules.setdefault(name, module)
                if other != module:
                    raise DeclarationError(f"the class id {name!r} is listed in {other} and in {module}")

    def __getitem__(self, name: str) -> NodeSpec:
        if name not in self._read:
            self._import(self._modules[name])
        if name not in self._read:
            raise DeclarationError(f"{self._modules[name]} declares no node of the class id {name!r}")
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def _import(self, name: str) -> None:
        with collection_paused():
            module = importlib.import_module(name)
        for value in list(vars(module).values()):
            spec = find_spec(value)
            if spec is not None and self._modules.get(spec.name) == name:
                self._read[spec.name] = spec
