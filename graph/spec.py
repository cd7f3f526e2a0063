"""NodeSpec: everything there is to know of a node, read once from its signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from graph.ports import Rule

_ATTRIBUTE: Final = "__weft_node__"


class _Missing:
    """The default of an input that has none."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True)
class Port:
    """An input. It is required when it has no default.

    optional: declared as `T | None = None`; editors list it apart.
    is_list: takes the whole list. lazy: computed only if asked for. variable: the TypeVar in its hint, if any.
    classes: what a value (each item, of a list) is an instance of; None where its type hint cannot tell, or where a
    value is converted as it is taken.
    """

    name: str
    socket: str
    default: Any = MISSING
    optional: bool = False
    is_list: bool = False
    lazy: bool = False
    rule: Rule | None = None
    tooltip: str = ""
    variable: str | None = None
    classes: tuple[type, ...] | None = None

    @property
    def required(self) -> bool:
        return self.default is MISSING


@dataclass(frozen=True)
class Output:
    """An output. is_list: each item of the list goes on by itself.

    classes: what a value (each item, of a list) is an instance of; None where its type hint cannot tell.
    """

    name: str
    socket: str
    is_list: bool = False
    tooltip: str = ""
    variable: str | None = None
    classes: tuple[type, ...] | None = None


@dataclass(frozen=True)
class NodeSpec:
    """A node, as its decorator and signature declare it.

    name: the class id in workflows. title: what an editor shows. output: whether runs start from it.
    io: whether it waits more than it computes, and so runs in a thread beside other nodes.
    named: whether its outputs come as a NamedTuple. context: the parameter that takes the Context, if any.
    where: "file:line" of the function. The last six fields follow from the others, and are looked up often.
    """

    name: str
    title: str
    category: str
    version: int
    output: bool
    io: bool
    is_async: bool
    named: bool
    function: Callable[..., Any]
    inputs: tuple[Port, ...]
    outputs: tuple[Output, ...]
    context: str | None
    fingerprint: Callable[..., Any] | None
    fingerprint_takes: frozenset[str]
    description: str
    module: str
    where: str
    ports: Mapping[str, Port] = field(init=False, repr=False, compare=False)
    defaults: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    lazy: frozenset[str] = field(init=False, repr=False, compare=False)
    whole_lists: frozenset[str] = field(init=False, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)
    fans_out: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ports = {port.name: port for port in self.inputs}
        defaults = {port.name: port.default for port in self.inputs if not port.required}
        object.__setattr__(self, "ports", MappingProxyType(ports))
        object.__setattr__(self, "defaults", defaults)
        object.__setattr__(self, "lazy", frozenset(port.name for port in self.inputs if port.lazy))
        object.__setattr__(self, "whole_lists", frozenset(port.name for port in self.inputs if port.is_list))
        object.__setattr__(self, "plain", not (self.lazy or self.whole_lists or self.context))
        object.__setattr__(self, "fans_out", any(output.is_list for output in self.outputs))


def attach(function: Callable[..., Any], spec: NodeSpec) -> None:
    """Make `function` a node with this specification."""
    setattr(function, _ATTRIBUTE, spec)


def find_spec(value: object) -> NodeSpec | None:
    """The specification of `value`, if it is a node function."""
    spec = getattr(value, _ATTRIBUTE, None)
    return spec if isinstance(spec, NodeSpec) else None


def spec_of(function: Callable[..., Any]) -> NodeSpec:
    """The specification of a node function. Raises TypeError if it is not one."""
    spec = find_spec(function)
    if spec is None:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"{name} is not a node; declare it with @node(...)")
    return spec
