"""Registry: the nodes that a run may use, by class id."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from graph.deferred import DeferredSpecs
from graph.errors import DeclarationError
from graph.ports import nearest
from graph.spec import NodeSpec, find_spec


@dataclass(frozen=True)
class ImportProblem:
    """Something that should have added nodes and could not: where it lies, and the traceback or the reason."""

    source: str
    reason: str


@dataclass(frozen=True, eq=False)
class Registry(Mapping[str, NodeSpec]):
    """An immutable mapping of class ids to specifications. problems: what could not be brought in."""

    specs: Mapping[str, NodeSpec] = field(default_factory=dict)
    problems: tuple[ImportProblem, ...] = ()

    @classmethod
    def of(cls, *sources: ModuleType | Callable[..., Any]) -> Registry:
        """The nodes among the given functions and in the given modules.

        Raises DeclarationError when two different functions have one class id, naming both places.
        """
        specs: dict[str, NodeSpec] = {}
        for spec in specs_in(sources):
            known = specs.setdefault(spec.name, spec)
            if known is not spec:
                raise DeclarationError(
                    f"two nodes have the class id {spec.name!r}: {known.where} and {spec.where}; rename one of them"
                )
        return cls(MappingProxyType(specs))

    @classmethod
    def deferred(cls, modules: Mapping[str, Iterable[str]]) -> Registry:
        """The nodes of modules that are imported when they are needed: class ids by the module that declares them.

        Raises DeclarationError when one class id is listed for two modules.
        """
        return cls(DeferredSpecs(modules))

    def with_nodes(self, specs: Iterable[NodeSpec], problems: Iterable[ImportProblem] = ()) -> Registry:
        """This registry and more nodes. A class id that is taken already stays what it is, and is reported."""
        more: dict[str, NodeSpec] = {}
        # Of the two, only the first is ever written to; the second may be one that imports what is asked for.
        merged: ChainMap[str, NodeSpec] = ChainMap(more, self.specs)  # type: ignore[arg-type]
        added = list(problems)
        for spec in specs:
            known = merged.setdefault(spec.name, spec)
            if known is not spec:
                reason = f"the class id {spec.name!r} is taken already, by {known.where}; rename the node"
                added.append(ImportProblem(spec.where, reason))
        return Registry(MappingProxyType(merged) if more else self.specs, self.problems + tuple(added))

    def discover(self, *folders: Path, group: str | None = "weft.nodes") -> Registry:
        """This registry with the nodes of installed packages and of custom_nodes folders; see graph.discover."""
        from graph.discover import discover

        return discover(self, folders, group=group)

    def nearest(self, name: str) -> str | None:
        """The class id that `name` is most likely a slip for."""
        return nearest(name, self.specs)

    def __getitem__(self, name: str) -> NodeSpec:
        return self.specs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)


def specs_in(sources: Iterable[ModuleType | Callable[..., Any]]) -> Iterator[NodeSpec]:
    """The specifications of node functions, given themselves or by the module they stand in."""
    for source in sources:
        found = find_spec(source)
        if found is not None:
            yield found
        elif isinstance(source, ModuleType):
            for value in list(vars(source).values()):
                spec = find_spec(value)
                if spec is not None:
                    yield spec
        else:
            name = getattr(source, "__qualname__", repr(source))
            raise TypeError(f"{name} is neither a module nor a node; declare it with @node(...)")
