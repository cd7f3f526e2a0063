"""One level of a drawing in the editor's older form, and how a link in it is followed to where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph.errors import Fault
from graph.parsing import unreadable
from graph.sockets import ANY, fits
from graph.values import Link
from graph.wording import place

MUTED, BYPASSED = 2, 4
_INPUT_NODE, _OUTPUT_NODE = -10, -20
_DEEPEST = 64
_MOST_NODES = 200_000


@dataclass(frozen=True)
class Constant:
    """A value that a primitive node or a promoted widget gives."""

    value: Any


@dataclass(frozen=True)
class _Wire:
    origin: Any
    origin_slot: int
    target: Any
    target_slot: int


@dataclass(eq=False)
class Scope:
    """The top level of a drawing, or one instance of a sub-graph in it."""

    prefix: str
    nodes: Mapping[Any, Mapping[str, Any]]
    wires: Mapping[Any, _Wire]
    groups: list[Any]
    instance: Mapping[str, Any] | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    parent: Scope | None = None
    children: dict[Any, Scope] = field(default_factory=dict)

    def path(self, drawn: Mapping[str, Any]) -> str:
        return f"{self.prefix}{drawn.get('id')}"

    def inner(self, drawn: Mapping[str, Any]) -> Scope | None:
        """The level inside of a sub-graph's node."""
        return self.children.get(drawn.get("id"))

    def sockets(self, drawn: Mapping[str, Any], side: str) -> list[Mapping[str, Any]]:
        found = drawn.get(side)
        return [socket for socket in found if isinstance(socket, Mapping)] if isinstance(found, list) else []

    def group(self, drawn: Mapping[str, Any]) -> str | None:
        """The title of the drawn frame that the node's corner lies in."""
        position = drawn.get("pos")
        if not isinstance(position, list) or not _are_numbers(position[:2], 2):
            return None
        for group in self.groups:
            box = group.get("bounding") if isinstance(group, Mapping) else None
            if isinstance(box, list) and _are_numbers(box, 4):
                (x, y), (left, top, width, height) = position[:2], box
                if left <= x <= left + width and top <= y <= top + height:
                    title = group.get("title")
                    return title if isinstance(title, str) else None
        return None

    def origin(self, wire_id: Any, wanted: Any) -> Link | Constant | None:
        """Where the value that comes over this link is made; None if the link leads nowhere.

        `wanted` is the type of the socket at its end, by which a bypassed node chooses what to hand through.
        """
        scope: Scope | None = self
        seen: set[tuple[int, Any]] = set()
        while scope is not None and _hashable(wire_id) and (id(scope), wire_id) not in seen:
            seen.add((id(scope), wire_id))
            wire = scope.wires.get(wire_id)
            if wire is None:
                return None
            step = scope._step(wire, wanted)
            if not isinstance(step, tuple) or isinstance(step, Link):
                return step
            scope, wire_id = step
        return None

    def _step(self, wire: _Wire, wanted: Any) -> Link | Constant | tuple[Scope, Any] | None:
        """The origin itself, or the level and link to go on with."""
        if wire.origin == _INPUT_NODE:
            return self._outside(wire.origin_slot)
        drawn = self.nodes.get(wire.origin)
        if drawn is None or drawn.get("mode") == MUTED or drawn.get("type") in ("Note", "MarkdownNote"):
            return None
        if drawn.get("mode") == BYPASSED:
            return self, self._handed_through(drawn, wire.origin_slot, wanted)
        if drawn.get("type") == "Reroute":
            sockets = self.sockets(drawn, "inputs")
            return (self, sockets[0].get("link")) if sockets else None
        if drawn.get("type") == "PrimitiveNode":
            values = drawn.get("widgets_values")
            return Constant(values[0]) if isinstance(values, list) and values else None
        inner = self.inner(drawn)
        if inner is not None:
            return next(
                (
                    (inner, inner_id)
                    for inner_id, candidate in inner.wires.items()
                    if candidate.target == _OUTPUT_NODE and candidate.target_slot == wire.origin_slot
                ),
                None,
            )
        return Link(self.path(drawn), wire.origin_slot)

    def _outside(self, slot: int) -> Constant | tuple[Scope, Any] | None:
        """What comes into this sub-graph at its input number `slot`."""
        if self.parent is None or self.instance is None:
            return None
        sockets = self.sockets(self.instance, "inputs")
        names = [
            item.get("name") for item in self.definition.get("inputs") or [] if isinstance(item, Mapping)
        ]
        name = names[slot] if 0 <= slot < len(names) else None
        matching = [socket for socket in sockets if name is not None and socket.get("name") == name]
        socket = matching[0] if matching else sockets[slot] if 0 <= slot < len(sockets) else None
        if socket is None:
            return None
        if socket.get("link") is not None:
            return self.parent, socket["link"]
        values = self.instance.get("widgets_values")
        promoted = [other for other in sockets if other.get("widget")]
        if socket.get("widget") and isinstance(values, list):
            position = next(index for index, other in enumerate(promoted) if other is socket)
            if position < len(values) and values[position] is not None:
                return Constant(values[position])
        return None

    def _handed_through(self, drawn: Mapping[str, Any], slot: int, wanted: Any) -> Any:
        """The link of the input that a bypassed node hands on at output `slot`."""
        inputs, outputs = self.sockets(drawn, "inputs"), self.sockets(drawn, "outputs")
        made = str(outputs[slot].get("type")) if 0 <= slot < len(outputs) else ANY
        wanted = wanted if isinstance(wanted, str) else made
        at_slot = inputs[slot] if 0 <= slot < len(inputs) else None
        if wanted == ANY:
            chosen = at_slot or (inputs[0] if inputs else None)
        else:
            types = [(socket, str(socket.get("type"))) for socket in inputs]
            ranked = [
                socket
                for socket, kind in types
                if socket is at_slot and fits(kind, made) and fits(kind, wanted)
            ]
            ranked += [socket for socket, kind in types if kind == wanted]
            ranked += [socket for socket, kind in types if fits(kind, wanted)]
            chosen = ranked[0] if ranked else None
        return chosen.get("link") if chosen else None


def flatten(document: Mapping[str, Any], faults: list[Fault]) -> list[Scope]:
    """The top level of a drawing, and each instance of a sub-graph, however deep."""
    definitions = _definitions(document)
    top = _scope("", document, faults)
    pending, total, levels = [(top, 0)], 0, list[Scope]()
    while pending:
        scope, depth = pending.pop()
        levels.append(scope)
        total += len(scope.nodes)
        if depth > _DEEPEST or total > _MOST_NODES:
            raise unreadable("its sub-graphs contain themselves, or too many others", None)
        local = definitions | _definitions(scope.definition)
        for drawn in scope.nodes.values():
            kind = drawn.get("type")
            definition = local.get(kind) if isinstance(kind, str) else None
            if definition is not None and drawn.get("mode") not in (MUTED, BYPASSED):
                child = _scope(f"{scope.path(drawn)}:", definition, faults)
                child.parent, child.instance, child.definition = scope, drawn, definition
                scope.children[drawn.get("id")] = child
                pending.append((child, depth + 1))
    return levels


def _definitions(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    holder = document.get("definitions")
    found = holder.get("subgraphs") if isinstance(holder, Mapping) else None
    return {
        item["id"]: item
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, Mapping)
        and isinstance(item.get("id"), str)
        and isinstance(item.get("nodes"), list)
    }


def _scope(prefix: str, level: Mapping[str, Any], faults: list[Fault]) -> Scope:
    nodes: dict[Any, Mapping[str, Any]] = {}
    for position, drawn in enumerate(level["nodes"]):
        node_id = drawn.get("id") if isinstance(drawn, Mapping) else None
        if isinstance(drawn, Mapping) and type(node_id) in (int, str) and node_id not in nodes:
            nodes[node_id] = drawn
        else:
            message = f"{place(f'{prefix}#{position}')}: found no node with an id of its own."
            faults.append(
                Fault("invalid_prompt", message, node=f"{prefix}#{position}", expected="a node with an id")
            )
    links, groups = level.get("links"), level.get("groups")
    wires: dict[Any, _Wire] = {}
    for link in links if isinstance(links, list) else []:
        keyed = _wire(link)
        if keyed is None:
            faults.append(Fault("bad_linked_input", "A link of the drawing cannot be read.", found=link))
        else:
            wires[keyed[0]] = keyed[1]
    return Scope(prefix, nodes, wires, groups if isinstance(groups, list) else [])


def _wire(link: Any) -> tuple[Any, _Wire] | None:
    """A link by its id; older files write an array, newer ones an object."""
    if isinstance(link, Mapping):
        link = [link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    if not isinstance(link, list) or len(link) < 5:
        return None
    wire_id, origin, origin_slot, target, target_slot = link[:5]
    if (
        not all(_hashable(item) for item in link[:5])
        or type(origin_slot) is not int
        or type(target_slot) is not int
    ):
        return None
    return wire_id, _Wire(origin, origin_slot, target, target_slot)


def _hashable(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str)


def _are_numbers(values: list[Any], count: int) -> bool:
    return len(values) == count and all(isinstance(value, int | float) for value in values)
