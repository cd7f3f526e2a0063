"""Validation: everything that is wrong with a workflow, found at once and before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from graph.binding import Bound, bind_constant, with_defaults
from graph.cycles import depth_first, order_and_cycles
from graph.errors import Fault, Problem
from graph.folders import Folders
from graph.ports import nearest
from graph.registry import Registry
from graph.sockets import ANY, fits, takes_constants
from graph.spec import NodeSpec, Port
from graph.values import Link
from graph.wording import meant, place, shown
from graph.workflow import Node, Workflow

_MOST_SUGGESTIONS = 200
_MOST_CYCLE_NODES_SHOWN = 12
_SLIP = 0.7


@dataclass(frozen=True)
class Checked:
    """A workflow after validation. nodes: those that the targets need, in topological order."""

    faults: tuple[Fault, ...]
    nodes: dict[str, Bound]
    targets: tuple[str, ...]

    @property
    def blocking(self) -> list[Fault]:
        return [fault for fault in self.faults if fault.blocking]


def validate(
    workflow: Workflow, registry: Registry, folders: Folders, *, targets: Iterable[str] | None = None
) -> list[Fault]:
    """Every fault of a workflow, those of single nodes in the workflow's order. Never raises, whatever is in it.

    targets: the nodes to be run; all output nodes if left out. A fault that does not concern them, and an unknown
    input that could not be a slip, is reported with blocking=False.
    """
    return list(check(workflow, registry, folders, targets=targets).faults)


def check(
    workflow: Workflow, registry: Registry, folders: Folders, *, targets: Iterable[str] | None = None
) -> Checked:
    """Validate a workflow and bind its nodes' inputs, in time linear in nodes and links."""
    checker = _Checker(workflow, registry, folders)
    bound: dict[str, Bound] = {}
    for node_id, node in workflow.nodes.items():
        spec = checker.specs.get(node.class_type)
        if spec is not None:
            bound[node_id] = checker.bind(node_id, node, spec)
        elif node.class_type:
            checker.unknown(node_id, node)
    chosen = checker.targets(targets)
    order = checker.order()
    checker.check_variables(order, bound)
    needed = checker.needed(chosen)
    faults = tuple(
        fault
        if fault.node is None or fault.node in needed or not fault.blocking or _always_blocks(fault)
        else replace(fault, blocking=False)
        for fault in checker.faults
    )
    return Checked(faults, {key: bound[key] for key in order if key in needed and key in bound}, chosen)


def _always_blocks(fault: Fault) -> bool:
    """A node of unknown class may be an output; one that is no node at all means that the file is not sound."""
    return fault.kind in ("missing_node_type", "invalid_prompt")


@dataclass
class _Checker:
    workflow: Workflow
    registry: Registry
    folders: Folders
    faults: list[Fault] = field(init=False)
    specs: dict[str, NodeSpec] = field(init=False)
    suggestions: int = 0
    made: dict[str, list[Link]] | None = None

    def __post_init__(self) -> None:
        self.faults = list(self.workflow.faults)
        # Those of the workflow's own classes: what others there are need not be imported.
        used = {node.class_type for node in self.workflow.nodes.values()}
        self.specs = {name: self.registry[name] for name in used if name in self.registry}

    def unknown(self, node_id: str, node: Node) -> None:
        near = self.nearest(node.class_type, self.registry)
        message = (
            f"{place(node_id, None, node.title)}: there is no node class {shown(node.class_type)}.{meant(near)} "
            "A class of a custom node needs that node's folder or package."
        )
        self.add("missing_node_type", node_id, message, None, node.class_type, "a known node class", near)

    def bind(self, node_id: str, node: Node, spec: NodeSpec) -> Bound:
        given: dict[str, Any] = {}
        links: dict[str, Link] = {}
        inputs, known = node.inputs, 0
        for port in spec.inputs:
            value = inputs.get(port.name)
            known += port.name in inputs
            if value is None:
                if port.required:
                    self.missing(node_id, node, port)
            elif type(value) is Link:
                links[port.name] = value
                self.check_link(node_id, node, port, value)
            else:
                given[port.name], problem = bind_constant(port, value, self.folders)
                if problem is not None:
                    if not takes_constants(port.socket):
                        expected = f"{problem.expected}{self.such_as(node_id, port)}"
                        problem = replace(problem, expected=expected)
                    self.refuse(node_id, node, port.name, value, problem)
        if known < len(inputs):
            self.check_unknown(node_id, node, spec)
        # Where there are only links, the mapping that the workflow holds already will do.
        return Bound(
            node_id, spec, with_defaults(spec, given, links), inputs if len(links) == len(inputs) else links
        )

    def missing(self, node_id: str, node: Node, port: Port) -> None:
        takes = f"a value or a link of type {port.socket}"
        expected = takes + ("" if takes_constants(port.socket) else self.such_as(node_id, port))
        message = f"{place(node_id, node.class_type, node.title)}: input {port.name} is missing; it needs {expected}."
        self.add("required_input_missing", node_id, message, port.name, None, expected)

    def such_as(self, node_id: str, port: Port) -> str:
        """A link that would do, out of this workflow, if another of its nodes has an output of the very type."""
        if self.made is None:
            self.made = {}
            for source, node in self.workflow.nodes.items():
                spec = self.specs.get(node.class_type)
                for index, output in enumerate(spec.outputs if spec else ()):
                    links = self.made.setdefault(output.socket, [])
                    if len(links) < 2 and not any(link.node == source for link in links):
                        links.append(Link(source, index))
        found = (link for link in self.made.get(port.socket, ()) if link.node != node_id)
        link = next(found, None)
        return f", such as {json.dumps(link)}" if link else ""

    def check_link(self, node_id: str, node: Node, port: Port, link: Link) -> None:
        source = self.workflow.nodes.get(link.node)
        if source is None:
            expected = "a link to a node of this workflow"
            near = self.nearest(link.node, self.workflow.nodes)
            self.refuse(node_id, node, port.name, link, Problem("bad_linked_input", expected, near))
            return
        spec = self.specs.get(source.class_type)
        if spec is None:
            return
        if not 0 <= link.output < len(spec.outputs):
            outputs = (
                ", ".join(f"{index} {output.name}" for index, output in enumerate(spec.outputs)) or "none"
            )
            expected = f"an output that {place(link.node, source.class_type, source.title)} has: {outputs}"
            self.refuse(node_id, node, port.name, link, Problem("bad_linked_input", expected))
        elif not fits(spec.outputs[link.output].socket, port.socket):
            self.mistyped(node_id, node, port, link, spec.outputs[link.output].socket)

    def mistyped(self, node_id: str, node: Node, port: Port, link: Link, socket: str) -> None:
        source = self.workflow.nodes[link.node]
        outputs = self.specs[source.class_type].outputs
        fitting = [
            index
            for index, output in enumerate(outputs)
            if output.socket != ANY and fits(output.socket, port.socket)
        ]
        near = json.dumps([link.node, fitting[0]]) if fitting else None
        expected = f"an output of type {port.socket}"
        instead = f" Did you mean {near}?" if near else ""
        message = (
            f"{place(node_id, node.class_type, node.title)}: input {port.name}: found output {link.output} of "
            f"{place(link.node, source.class_type, source.title)}, of type {socket}, expected {expected}.{instead}"
        )
        self.add("return_type_mismatch", node_id, message, port.name, list(link), expected, near)

    def check_unknown(self, node_id: str, node: Node, spec: NodeSpec) -> None:
        """An unknown input is passed over, unless it looks like a slip for one that was not given."""
        for name in node.inputs:
            if name not in spec.ports:
                near = self.nearest(
                    name, [port for port in spec.ports if port not in node.inputs], likeness=_SLIP
                )
                names = ", ".join(spec.ports) or "none"
                message = (
                    f"{place(node_id, node.class_type, node.title)}: it has no input {shown(name)}.{meant(near)} "
                    f"Its inputs are: {names}."
                )
                expected, blocks = f"one of {names}", near is not None
                self.add("unknown_input", node_id, message, name, node.inputs[name], expected, near, blocks)

    def refuse(self, node_id: str, node: Node, name: str, value: Any, problem: Problem) -> None:
        found = list(value) if type(value) is Link else value
        message = (
            f"{place(node_id, node.class_type, node.title)}: input {name}: found {shown(found)}, "
            f"expected {problem.expected}.{meant(problem.nearest)}"
        )
        self.add(problem.kind, node_id, message, name, found, problem.expected, problem.nearest)

    def add(
        self,
        kind: str,
        node_id: str,
        message: str,
        name: str | None,
        found: Any,
        expected: str,
        near: str | None = None,
        blocking: bool = True,
    ) -> None:
        node = self.workflow.nodes[node_id]
        title = node.title or node.class_type
        self.faults.append(
            Fault(kind, message, node_id, title, node.class_type, name, found, expected, near, blocking)
        )

    def nearest(self, name: str, known: Iterable[str], *, likeness: float = 0.5) -> str | None:
        """The nearest name, for the first faults only: looking for it takes long in a workflow that is all faults."""
        self.suggestions += 1
        return nearest(name, known, likeness=likeness) if self.suggestions <= _MOST_SUGGESTIONS else None

    def sources(self, node_id: str) -> list[str]:
        """The nodes of this workflow that a node is linked to."""
        nodes = self.workflow.nodes
        linked = nodes[node_id].inputs.values()
        return [value.node for value in linked if type(value) is Link and value.node in nodes]

    def needed(self, targets: Sequence[str]) -> Set[str]:
        """The targets and all that they stand on; everything if there are none."""
        nodes = self.workflow.nodes
        if not targets:
            return nodes.keys()
        found: set[str] = set()
        pending = [target for target in targets if target in nodes]
        while pending:
            node_id = pending.pop()
            if node_id not in found:
                found.add(node_id)
                pending.extend(self.sources(node_id))
        return found

    def order(self) -> list[str]:
        """All nodes that no cycle keeps out, in topological order. Each cycle is a fault."""
        order = depth_first(self.workflow.nodes, self.sources)
        if order is not None:
            return order
        order, cycles = order_and_cycles(self.workflow.to_graph())
        for cycle in cycles:
            node = self.workflow.nodes[cycle[0]]
            names = [f"{step} ({self.workflow.nodes[step].class_type})" for step in (*cycle, cycle[0])]
            if len(names) > _MOST_CYCLE_NODES_SHOWN:
                names[_MOST_CYCLE_NODES_SHOWN - 2 : -2] = ["..."]
            message = f"The links form a cycle: {' -> '.join(names)}. Take out one of them."
            expected, title = "links that lead forward only", node.title or node.class_type
            self.faults.append(
                Fault(
                    "dependency_cycle",
                    message,
                    cycle[0],
                    title,
                    node.class_type,
                    expected=expected,
                    cycle=cycle,
                )
            )
        return order

    def check_variables(self, order: Iterable[str], bound: dict[str, Bound]) -> None:
        """Check the links of outputs whose type is that of an input: a node that hands anything on."""
        specs = {id(node.spec): node.spec for node in bound.values()}
        if not any(output.variable for spec in specs.values() for output in spec.outputs):
            return
        types: dict[tuple[str, str], str] = {}
        for node_id in order:
            node = bound.get(node_id)
            if node is None:
                continue
            for name, link in node.links.items():
                port, socket = node.spec.ports[name], self._made(link, bound, types)
                if port.variable and socket not in (None, ANY):
                    types.setdefault((node_id, port.variable), socket)
                if (
                    port.socket != ANY
                    and socket
                    and not fits(socket, port.socket)
                    and self._varies(link, bound)
                ):
                    self.mistyped(node_id, self.workflow.nodes[node_id], port, link, socket)

    def _made(self, link: Link, bound: dict[str, Bound], types: dict[tuple[str, str], str]) -> str | None:
        source = bound.get(link.node)
        if source is None or not 0 <= link.output < len(source.spec.outputs):
            return None
        output = source.spec.outputs[link.output]
        return types.get((link.node, output.variable), output.socket) if output.variable else output.socket

    def _varies(self, link: Link, bound: dict[str, Bound]) -> bool:
        return bound[link.node].spec.outputs[link.output].variable is not None

    def targets(self, targets: Iterable[str] | None) -> tuple[str, ...]:
        nodes, specs = self.workflow.nodes, self.specs
        if targets is not None:
            chosen = tuple(dict.fromkeys(targets))
            for node_id in chosen:
                if node_id not in nodes:
                    near = self.nearest(node_id, nodes)
                    message = f"There is no node {shown(node_id)} to run in this workflow.{meant(near)}"
                    self.faults.append(Fault("prompt_no_outputs", message, found=node_id, nearest=near))
            return chosen
        chosen = tuple(
            node_id
            for node_id, node in nodes.items()
            if node.class_type in specs and specs[node.class_type].output
        )
        if not chosen:
            outputs = (
                ", ".join(spec.name for spec in self.registry.values() if spec.output) or "none is known"
            )
            message = (
                f"The workflow has no output node, so there is nothing to run. Output nodes are: {outputs}."
            )
            self.faults.append(Fault("prompt_no_outputs", message, expected="an output node"))
        return chosen
