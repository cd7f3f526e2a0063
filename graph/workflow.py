"""Workflow: what a person drew, as nodes and links; to and from the JSON that the queue takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graph.collecting import collection_paused
from graph.errors import Fault
from graph.parsing import kind_of_json, parse, unreadable
from graph.ports import nearest
from graph.spec import spec_of
from graph.values import Link
from graph.wording import meant, place, shown

if TYPE_CHECKING:
    import networkx as nx

    from graph.registry import Registry

_NOTHING: Mapping[str, Any] = {}
_TEXT = frozenset({str})
# "is_changed" is what another program's cache leaves in the prompts it saves; it means nothing anywhere else.
_NODE_KEYS = frozenset({"class_type", "inputs", "_meta", "is_changed"})


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a workflow.

    inputs: by name, a Link or a constant. meta: title, position and the like, kept as they came.
    extra: keys of the node's JSON that mean nothing here, kept as they came.
    class_type is empty when the JSON did not give one.
    """

    class_type: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[..., Any], /, **inputs: Any) -> Node:
        """A node of the class that `function` declares."""
        return cls(spec_of(function).name, inputs)

    @property
    def title(self) -> str | None:
        title = self.meta.get("title")
        return title if isinstance(title, str) and title else None


@dataclass(frozen=True)
class Workflow:
    """Nodes by id. faults: what was wrong with the JSON of single nodes; `validate` reports it with the rest."""

    nodes: Mapping[str, Node]
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_json(cls, source: str | bytes | Mapping[str, Any], registry: Registry | None = None) -> Workflow:
        """Read a workflow from JSON text, or from what JSON text was parsed to.

        Takes the API form, the body of a queue request around one, and the editor's older form of nodes and links,
        for which `registry` says which widget value belongs to which input. Raises WorkflowError when the whole cannot
        be read; what is wrong with a single node is kept for `validate`.
        """
        with collection_paused():
            if isinstance(source, str | bytes):
                return cls._read(parse(source), registry, owned=True)
            return cls._read(source, registry, owned=False)

    @classmethod
    def _read(cls, document: Any, registry: Registry | None, *, owned: bool) -> Workflow:
        """owned: nobody else has the document, so that its parts may become the workflow's."""
        if not isinstance(document, Mapping):
            raise unreadable(
                f"it is {kind_of_json(document)}, where an object of nodes by their ids was expected",
                document,
            )
        inner = document.get("prompt")
        if isinstance(inner, Mapping) and "class_type" not in inner:
            document = inner
        if isinstance(document.get("nodes"), list):
            from graph.legacy import read_legacy

            return read_legacy(document, registry)
        return _read_nodes(document, owned)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The API form. A well-formed workflow that was read from it comes back equal."""
        return {node_id: _node_to_json(node) for node_id, node in self.nodes.items()}

    def find(self, name: str) -> str:
        """The id of the node with this id, or else this title. Raises KeyError, with a message, for none or several."""
        if name in self.nodes:
            return name
        titled = [node_id for node_id, node in self.nodes.items() if node.title == name]
        if len(titled) == 1:
            return titled[0]
        if titled:
            raise KeyError(
                f"nodes {', '.join(titled)} all have the title {name!r}; give the id of one of them"
            )
        titles = [node.title for node in self.nodes.values() if node.title]
        raise KeyError(f"no node has the id or title {name!r}.{meant(nearest(name, [*self.nodes, *titles]))}")

    def with_input(self, node_id: str, name: str, value: Any) -> Workflow:
        """This workflow with one input of one node set to a constant or a Link."""
        node = self.nodes[node_id]
        changed = replace(node, inputs={**node.inputs, name: value})
        return replace(self, nodes={**self.nodes, node_id: changed})

    def to_graph(self) -> nx.DiGraph[str]:
        """Which node feeds which, links to nodes that do not exist left out."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        nodes = self.nodes
        graph.add_nodes_from(nodes)
        graph.add_edges_from(
            (value.node, node_id)
            for node_id, node in nodes.items()
            for value in node.inputs.values()
            if type(value) is Link and value.node in nodes
        )
        return graph


def _link_or_value(value: list[Any]) -> Any:
    """A well-formed link as a Link. A list that is none stays a list, for `validate` to report."""
    if len(value) != 2:
        return value
    source, output = value
    if type(output) is not int or type(source) not in (str, int):
        return value
    return Link(source if type(source) is str else str(source), output)


def _read_nodes(document: Mapping[Any, Any], owned: bool) -> Workflow:
    nodes: dict[str, Node] = {}
    faults: list[Fault] = []
    for key, value in document.items():
        if type(key) is not str and (type(key) is not int or key.bit_length() > 64):
            faults.append(Fault("invalid_prompt", f"The node id {shown(key)} is no text.", found=shown(key)))
            continue
        node_id = str(key)
        if node_id in nodes:
            faults.append(Fault("invalid_prompt", f"The node id {shown(key)} is there twice.", found=key))
            continue
        nodes[node_id] = _read_node(node_id, value, owned, faults)
    return Workflow(nodes, tuple(faults))


def _read_node(node_id: str, value: Any, owned: bool, faults: list[Fault]) -> Node:
    if not _is_object(value):
        _fault(faults, node_id, "invalid_prompt", value, 'an object with "class_type" and "inputs"')
        return Node("")
    class_type, inputs, meta = value.get("class_type"), value.get("inputs", _NOTHING), value.get("_meta")
    if not isinstance(class_type, str) or not class_type:
        _fault(
            faults, node_id, "missing_node_type", class_type, 'the name of a node class as its "class_type"'
        )
        class_type = ""
    if not _is_object(inputs):
        _fault(faults, node_id, "invalid_prompt", inputs, 'an object as its "inputs"')
        inputs = _NOTHING
    elif not _TEXT.issuperset(map(type, inputs)):
        _fault(faults, node_id, "invalid_prompt", list(inputs), 'texts as the names of its "inputs"')
        inputs = {name: value for name, value in inputs.items() if isinstance(name, str)}
    extra = _NOTHING
    if len(value) > 3 or not value.keys() <= _NODE_KEYS:
        extra = {name: item for name, item in value.items() if name not in _NODE_KEYS}
    read = inputs if owned and type(inputs) is dict else dict(inputs)
    for name, item in read.items():
        if type(item) is list:
            read[name] = _link_or_value(item)
    return Node(class_type, read, meta if _is_object(meta) else _NOTHING, extra)


def _is_object(value: Any) -> bool:
    return type(value) is dict or isinstance(value, Mapping)


def _fault(faults: list[Fault], node_id: str, kind: str, found: Any, expected: str) -> None:
    message = f"{place(node_id)}: found {shown(found)}, expected {expected}."
    faults.append(Fault(kind, message, node=node_id, found=found, expected=expected))


def _node_to_json(node: Node) -> dict[str, Any]:
    inputs = {name: list(value) if type(value) is Link else value for name, value in node.inputs.items()}
    written: dict[str, Any] = {"inputs": inputs, "class_type": node.class_type}
    if node.meta:
        written["_meta"] = dict(node.meta)
    return written | dict(node.extra)
