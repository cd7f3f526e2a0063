"""Topological order of a graph, and the cycles that stand in its way.

networkx is imported where it is used: it takes longer than all of this package, and a workflow that runs needs it not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

_MOST_CYCLES = 100


def depth_first(starts: Iterable[str], sources: Callable[[str], list[str]]) -> list[str] | None:
    """The starts and all that they stand on, each node after its sources; None if there is a cycle.

    For a workflow this takes half the time that building its DiGraph does, which is needed only to name a cycle.
    """
    finished: dict[str, bool] = {}
    order: list[str] = []
    for start in starts:
        path = [start]
        while path:
            node = path[-1]
            state = finished.get(node)
            if state is None:
                finished[node] = False
                for source in sources(node):
                    before = finished.get(source)
                    if before is None:
                        path.append(source)
                    elif not before:
                        return None
            else:
                path.pop()
                if not state:
                    finished[node] = True
                    order.append(node)
    return order


def order_and_cycles(graph: nx.DiGraph[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The nodes in topological order, those in cycles left out; and one cycle out of each knot of cycles."""
    import networkx as nx

    try:
        return list(nx.topological_sort(graph)), []
    except nx.NetworkXUnfeasible:
        knots = [knot for knot in nx.strongly_connected_components(graph) if _has_cycle(graph, knot)]
    free = graph.copy()
    free.remove_nodes_from(node for knot in knots for node in knot)
    return list(nx.topological_sort(free)), [_cycle_in(graph, knot) for knot in knots[:_MOST_CYCLES]]


def _has_cycle(graph: nx.DiGraph[str], component: set[str]) -> bool:
    return len(component) > 1 or any(graph.has_edge(node, node) for node in component)


def _cycle_in(graph: nx.DiGraph[str], knot: set[str]) -> tuple[str, ...]:
    """Walk against the links inside of the knot until a node comes again; what lies between is a cycle."""
    node = min(knot)
    walked: list[str] = []
    seen: set[str] = set()
    while node not in seen:
        seen.add(node)
        walked.append(node)
        node = next(source for source in graph.predecessors(node) if source in knot)
    cycle = walked[walked.index(node) :][::-1]
    first = cycle.index(min(cycle))
    return (*cycle[first:], *cycle[:first])
