"""What links carry besides plain values: Link, Lazy, Shown and Expansion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from graph.workflow import Node

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Link(NamedTuple):
    """Where an input takes its value from: an output of another node, counted from 0."""

    node: str
    output: int = 0


class Lazy(Generic[T]):
    """An input that is computed only if the node asks for it.

    A node that asks for a value which is not there yet is stopped, and called again from its start once the value is
    there. So ask first and compute after. Put into the inputs of an Expansion, a Lazy passes its link on unasked.
    """

    __slots__ = ("_get", "source")

    def __init__(self, get: Callable[[], T], source: object = None) -> None:
        self._get = get
        self.source = source

    @classmethod
    def of(cls, value: T) -> Lazy[T]:
        """A value that is there already, for calling a node as the plain function it is."""
        return cls(lambda: value)

    def value(self) -> T:
        """The value; computed now if it has not been."""
        return self._get()

    __call__ = value


@dataclass(frozen=True, eq=False)
class Shown(Generic[T_co]):
    """A node's values, and beside them what an editor shows of it.

    ui: a JSON object of lists, such as {"images": [{"filename": ..., "subfolder": ..., "type": "output"}]}.
    """

    value: T_co
    ui: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Expansion(Generic[T_co]):
    """A sub-graph to run in a node's place.

    nodes: by an id of their own. An input is a Link to another of these nodes, a Lazy that the node was given (its link
        is passed on and not computed), or any other value, taken as it is.
    outputs: what the node's outputs are: one for a node with one output, else a sequence in their order. Each is a
        Link to one of these nodes, a Lazy that the node was given, or any other value.
    """

    nodes: Mapping[str, Node]
    outputs: object = ()
