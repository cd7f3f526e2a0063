"""What a loop repeats: the nodes between its start and its end, laid out anew for each round.

A round's nodes are copies of the workflow's own. What they take from the start are the round's values; what they take
from outside of the loop stays linked to it, and runs once. In a loop within a loop, the copies also hold the values of
the round that the outer loop is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from graph import Expansion, Lazy, Link, Node, Workflow

_STARTS = frozenset({"ForLoopStart", "WhileLoopStart"})
_ENDS = frozenset({"ForLoopEnd", "WhileLoopEnd"})


class Values(NamedTuple):
    """What goes from round to round."""

    value1: Any
    value2: Any
    value3: Any
    value4: Any


class Started(NamedTuple):
    """The outputs of a loop's start in one round."""

    loop: Loop
    number: int
    value1: Any
    value2: Any
    value3: Any
    value4: Any


@dataclass(frozen=True, eq=False)
class Enclosing:
    """For the start of a loop within a loop: the outer one's round, and the start's own id in the workflow."""

    loop: Loop
    start: str


@dataclass(frozen=True, eq=False)
class Loop:
    """One round of a loop.

    start: the id of its start in the workflow. index: which round, from 0. total: how many; None while a condition
    holds. values: those of this round. outer: the round of the loop around it, if there is one past its first round.
    """

    start: str
    index: int
    total: int | None
    values: Values
    outer: Loop | None

    @classmethod
    def first(cls, outer: Enclosing | None, own: str, total: int | None, values: Iterable[Any]) -> Loop:
        """The first round. own: the id of the start; in a copy made for an outer loop, `outer` knows the workflow's."""
        start = outer.start if outer else own
        return cls(start, 0, total, Values(*values), outer.loop if outer else None)

    def started(self) -> Started:
        """What the start gives in this round."""
        return Started(self, self.index, *self.values)

    def carried(self, values: Iterable[Any]) -> Values:
        """The values that came to the end; those of this round where nothing came."""
        return Values(*(old if new is None else new for new, old in zip(values, self.values, strict=True)))


def next_round(workflow: Workflow, loop: Loop, values: Values) -> Expansion[Values]:
    """The nodes of the round after `loop`'s, which begins with `values`, and leads to what comes after it.

    Raises ValueError when the workflow does not have exactly one end for the loop.
    """
    following = replace(loop, index=loop.index + 1, values=values)
    rounds = {following.start: following}
    while following.outer is not None:
        following = following.outer
        rounds[following.start] = following
    end = _end_of(workflow, loop.start)
    body = _body(workflow, rounds, end)
    nodes = {name: _copy(name, workflow.nodes[name], rounds, body) for name in body}
    return Expansion(nodes, outputs=tuple(Link(end, output) for output in range(len(values))))


def _end_of(workflow: Workflow, start: str) -> str:
    ends = [
        name
        for name, node in workflow.nodes.items()
        if node.class_type in _ENDS and node.inputs.get("loop") == Link(start, 0)
    ]
    if len(ends) != 1:
        raise ValueError(
            f"The start of a loop, node {start}, is connected to {len(ends)} ends; each has one, connected directly."
        )
    return ends[0]


def _body(workflow: Workflow, rounds: Mapping[str, Loop], end: str) -> frozenset[str]:
    """The nodes that depend on the start of a running loop, as far as the end depends on them."""
    # Slow to import, and only loops need it here.
    import networkx as nx

    graph = workflow.to_graph()
    graph.remove_edges_from([*graph.in_edges(rounds)])
    dependent = {name for start in rounds for name in nx.descendants(graph, start)}
    return frozenset((nx.ancestors(graph, end) & dependent) | {end})


def _copy(name: str, node: Node, rounds: Mapping[str, Loop], body: frozenset[str]) -> Node:
    inputs = {key: _input(value, rounds, body) for key, value in node.inputs.items()}
    if node.class_type in _STARTS:
        # Of a loop within this one: the innermost running loop comes first.
        inputs["outer"] = Enclosing(next(iter(rounds.values())), name)
    return Node(node.class_type, {key: value for key, value in inputs.items() if value is not None})


def _input(value: Any, rounds: Mapping[str, Loop], body: frozenset[str]) -> Any:
    if type(value) is not Link:
        return value["__value__"] if isinstance(value, Mapping) and value.keys() == {"__value__"} else value
    if value.node in rounds:
        return rounds[value.node].started()[value.output]
    # A Lazy stands for a link to a node outside of the sub-graph.
    return value if value.node in body else Lazy(_never_asked, source=value)


def _never_asked() -> Any:
    raise AssertionError("the run follows the link of a Lazy that it is given in a sub-graph")
