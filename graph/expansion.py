"""Lays out the sub-graph that a node returned: its nodes bound and in order, its outputs as links or values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graph.binding import Bound, with_defaults
from graph.cycles import order_and_cycles
from graph.errors import GraphError, ValueRefused
from graph.folders import Folders
from graph.keys import token
from graph.mapping import Items
from graph.registry import Registry
from graph.sockets import fits
from graph.spec import NodeSpec, Port
from graph.values import Expansion, Lazy, Link
from graph.wording import meant, shown
from graph.work import receive
from graph.workflow import Node

if TYPE_CHECKING:
    import networkx as nx

_PLAIN = (int, float, str, bool, type(None))


class ExpansionError(GraphError):
    """A node returned a sub-graph that cannot run."""


@dataclass(frozen=True)
class Layout:
    """nodes: in topological order, each with the keys of its live values. outputs: a Link or a value each."""

    nodes: list[tuple[Bound, dict[str, bytes]]]
    outputs: tuple[Any, ...]


def lay_out(
    expansion: Expansion[Any],
    parent: NodeSpec,
    prefix: str,
    parent_key: bytes,
    *,
    registry: Registry,
    folders: Folders,
) -> Layout:
    """The nodes of `expansion`, with ids that begin with `prefix`. Raises ExpansionError, with every fault in it.

    parent_key: what the sub-graph's own constants are determined by; a value that is no JSON is known by it.
    """
    import networkx as nx

    faults: list[str] = []
    layer = _Layer(expansion.nodes, prefix, parent_key, registry, folders, faults)
    bound = {f"{prefix}{name}": layer.bind(name, node) for name, node in expansion.nodes.items()}
    outputs = layer.outputs(expansion.outputs, parent)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(bound)
    for item in bound.values():
        if item is not None:
            node = item[0]
            graph.add_edges_from((link.node, node.id) for link in node.links.values() if link.node in bound)
    order, cycles = order_and_cycles(graph)
    faults.extend(f"its links form a cycle: {' -> '.join((*cycle, cycle[0]))}" for cycle in cycles)
    if faults:
        raise ExpansionError("it returned a sub-graph that cannot run: " + "; ".join(faults))
    return Layout([item for item in map(bound.get, order) if item is not None], outputs)


@dataclass(frozen=True)
class _Layer:
    nodes: Mapping[str, Node]
    prefix: str
    parent_key: bytes
    registry: Registry
    folders: Folders
    faults: list[str]

    def bind(self, name: str, node: Node) -> tuple[Bound, dict[str, bytes]] | None:
        spec = self.registry.get(node.class_type)
        if spec is None:
            near = self.registry.nearest(node.class_type)
            self.faults.append(f"{name}: there is no node class {shown(node.class_type)}{meant(near)}")
            return None
        given, links, tokens = dict[str, Any](), dict[str, Link](), dict[str, bytes]()
        for input_name in node.inputs.keys() - spec.ports.keys():
            self.faults.append(f"{name} ({spec.name}): it has no input {shown(input_name)}")
        for port in spec.inputs:
            value = node.inputs.get(port.name)
            reference = self.reference(value)
            if value is None:
                if port.required:
                    self.faults.append(f"{name} ({spec.name}): input {port.name} is missing")
            elif type(reference) is Link:
                links[port.name] = reference
                self.check_link(name, port, value)
            else:
                given[port.name] = self.constant(name, port, reference)
                if type(reference) not in _PLAIN:
                    tokens[port.name] = token(self.parent_key, name, port.name)
        return Bound(f"{self.prefix}{name}", spec, with_defaults(spec, given, links), links), tokens

    def reference(self, value: Any) -> Any:
        """A Link as the run knows it, or a value. A Lazy stands for the link it was made from."""
        if type(value) is Link:
            return Link(f"{self.prefix}{value.node}", value.output)
        if isinstance(value, Lazy):
            return value.source if type(value.source) is Link else value.value()
        return value

    def check_link(self, name: str, port: Port, link: Any) -> None:
        """A link inside of the sub-graph must lead to an output of one of its nodes, of a type that fits."""
        if type(link) is not Link:
            return
        source = self.nodes.get(link.node)
        spec = self.registry.get(source.class_type) if source else None
        if source is None:
            self.faults.append(
                f"{name}: input {port.name} is linked to {shown(link.node)}, which is not in it"
            )
        elif spec is not None and not 0 <= link.output < len(spec.outputs):
            self.faults.append(
                f"{name}: input {port.name} is linked to output {link.output} of {link.node}, "
                f"which has {len(spec.outputs)}"
            )
        elif spec is not None and not fits(spec.outputs[link.output].socket, port.socket):
            made = spec.outputs[link.output].socket
            self.faults.append(
                f"{name}: input {port.name} of type {port.socket} is linked to one of type {made}"
            )

    def constant(self, name: str, port: Port, value: Any) -> Any:
        try:
            return receive(
                port, Items(value) if port.is_list and isinstance(value, list) else value, self.folders
            )
        except ValueRefused as error:
            self.faults.append(f"{name}: {error}")
            return None

    def outputs(self, given: Any, parent: NodeSpec) -> tuple[Any, ...]:
        declared = len(parent.outputs)
        if not parent.named:
            listed: tuple[Any, ...] = (given,) if declared else ()
        elif isinstance(given, list | tuple) and type(given) is not Link and len(given) == declared:
            listed = tuple(given)
        else:
            names = ", ".join(output.name for output in parent.outputs)
            self.faults.append(f"its outputs are {shown(given)}, where {declared} were declared: {names}")
            return ()
        for output in listed:
            source = self.nodes.get(output.node) if type(output) is Link else None
            spec = self.registry.get(source.class_type) if source else None
            if type(output) is Link and source is None:
                self.faults.append(f"an output is linked to {shown(output.node)}, which is not in it")
            elif type(output) is Link and spec is not None and not 0 <= output.output < len(spec.outputs):
                self.faults.append(f"an output is linked to output {output.output} of {output.node}")
        return tuple(self.reference(output) for output in listed)
