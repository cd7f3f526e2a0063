"""Reads the editor's older form: nodes, links and widgets_values, with its drawing aids and sub-graphs resolved."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from graph.errors import Fault
from graph.legacy_scope import BYPASSED, MUTED, Constant, Scope, flatten
from graph.parsing import unreadable
from graph.ports import Seed
from graph.sockets import WIDGETS
from graph.values import Link
from graph.wording import place
from graph.workflow import Node, Workflow

if TYPE_CHECKING:
    from graph.registry import Registry
    from graph.spec import NodeSpec, Port

VIRTUAL = frozenset({"Reroute", "PrimitiveNode", "Note", "MarkdownNote"})
_CONTROL_WORDS = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
_SEED_NAMES = frozenset({"seed", "noise_seed"})
_SEARCH_NAME = "Node name for S&R"
"""The property by which the file names of pictures ask for a node's values; the class of the node, unless changed."""


def read_legacy(document: Mapping[str, Any], registry: Registry | None) -> Workflow:
    """The workflow that the editor would have sent for this drawing.

    Notes, reroutes and primitive nodes vanish, muted nodes are left out, bypassed ones hand their inputs through, and
    each sub-graph is laid out in place of its node, with ids "outer:inner". Raises WorkflowError when the drawing
    cannot be read, or when there is no registry to say which widget value belongs to which input.
    """
    if registry is None:
        raise unreadable(
            "it is in the editor's form of nodes and links, which needs the registry of nodes", None
        )
    faults: list[Fault] = []
    nodes: dict[str, Node] = {}
    for scope in flatten(document, faults):
        for drawn in scope.nodes.values():
            class_type = drawn.get("type")
            class_type = class_type if isinstance(class_type, str) else ""
            if class_type in VIRTUAL or drawn.get("mode") in (MUTED, BYPASSED) or scope.inner(drawn):
                continue
            node_id = scope.path(drawn)
            if not class_type or class_type.startswith(("workflow/", "workflow>")):
                faults.append(_unusable(node_id, class_type))
                class_type = ""
            nodes[node_id] = _node(scope, drawn, class_type, registry.get(class_type))
    kept = {node_id: _without_dangling(node, nodes) for node_id, node in nodes.items()}
    return Workflow(kept, tuple(faults))


def _unusable(node_id: str, class_type: str) -> Fault:
    reason = "is a group node of an old editor; turn it into a sub-graph there, and save again"
    message = f"{place(node_id)} {reason if class_type else 'has no type'}."
    expected = "the name of a node class"
    return Fault("missing_node_type", message, node=node_id, found=class_type, expected=expected)


def _node(scope: Scope, drawn: Mapping[str, Any], class_type: str, spec: NodeSpec | None) -> Node:
    inputs = _widget_values(drawn.get("widgets_values"), spec)
    for socket in scope.sockets(drawn, "inputs"):
        name, link = socket.get("name"), socket.get("link")
        origin = scope.origin(link, socket.get("type")) if link is not None else None
        if isinstance(name, str) and origin is not None:
            inputs[name] = _constant(origin.value) if isinstance(origin, Constant) else origin
    return Node(class_type, inputs, _meta(drawn, scope.group(drawn)))


def _widget_values(values: Any, spec: NodeSpec | None) -> dict[str, Any]:
    """Constants by input name. An array holds them in the order in which the editor makes the widgets."""
    if spec is None:
        return {}
    ports = [port for port in spec.inputs if port.socket in WIDGETS and not port.is_list]
    if isinstance(values, Mapping):
        return {p.name: _constant(values[p.name]) for p in ports if values.get(p.name) is not None}
    if not isinstance(values, list):
        return {}
    assigned: dict[str, Any] = {}
    position = 0
    ports = sorted(ports, key=lambda port: port.optional)
    for port, following in zip_longest(ports, ports[1:]):
        numeric = port.socket in ("INT", "FLOAT")
        if numeric and position < len(values) and _is_control_word(values[position]):
            position += 1
        if position >= len(values):
            break
        if values[position] is not None:
            assigned[port.name] = _constant(values[position])
        position += 1
        seeds = isinstance(port.rule, Seed) or (port.name in _SEED_NAMES and port.socket == "INT")
        if seeds and position < len(values) and _controls(values[position], following):
            position += 1
    return assigned


def _controls(value: Any, following: Port | None) -> bool:
    """Whether what comes after a seed says how to change it. The first editors wrote true or false for that."""
    if isinstance(value, bool):
        return following is None or following.socket != "BOOLEAN"
    return _is_control_word(value)


def _is_control_word(value: Any) -> bool:
    return isinstance(value, str) and value in _CONTROL_WORDS


def _constant(value: Any) -> Any:
    return {"__value__": value} if isinstance(value, list) else value


def _without_dangling(node: Node, nodes: Mapping[str, Node]) -> Node:
    if all(value.node in nodes for value in node.inputs.values() if type(value) is Link):
        return node
    inputs = {
        name: value for name, value in node.inputs.items() if type(value) is not Link or value.node in nodes
    }
    return Node(node.class_type, inputs, node.meta, node.extra)


def _meta(drawn: Mapping[str, Any], group: str | None) -> dict[str, Any]:
    properties = drawn.get("properties")
    name = properties.get(_SEARCH_NAME) if isinstance(properties, Mapping) else None
    kept = {
        "title": drawn.get("title"),
        _SEARCH_NAME: name if isinstance(name, str) and name != drawn.get("type") else None,
        "pos": _pair(drawn.get("pos")),
        "size": _pair(drawn.get("size")),
        "color": drawn.get("color"),
        "bgcolor": drawn.get("bgcolor"),
        "group": group,
    }
    return {name: value for name, value in kept.items() if value is not None}


def _pair(value: Any) -> list[float] | None:
    """Two numbers, which the editor writes as an array or as an object with the keys "0" and "1"."""
    if isinstance(value, Mapping):
        value = [value.get("0"), value.get("1")]
    if (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(item, int | float) for item in value[:2])
    ):
        return value[:2]
    return None
