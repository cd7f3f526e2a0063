"""Any graph at all gives what plain Python gives, whatever is cached, and runs nothing that is not needed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from graph import Cache, Executor, Items, Link, Node, Registry, Workflow, node
from tests.graph.toys import Calls, add, loop, number, show, spread, switch, total


@node("IoAdd", category="toys", io=True)
def io_add(*, a: int, b: int = 1) -> int:
    """The sum, in a thread."""
    return a + b


@node("AsyncAdd", category="toys")
async def async_add(*, a: int, b: int = 1) -> int:
    """The sum, awaited."""
    return a + b


REGISTRY = Registry.of(number, add, io_add, async_add, switch, spread, total, loop, show)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Nodes by their position, each linked to earlier ones only."""
    nodes: list[tuple[str, dict[str, Any]]] = [("Number", {"value": draw(st.integers(0, 3))})]
    for position in range(1, draw(st.integers(1, 14))):
        earlier = st.integers(0, position - 1)
        number_or_link = st.integers(0, 3) | earlier.map(lambda i: Link(str(i)))
        kind = draw(
            st.sampled_from(["Add", "IoAdd", "AsyncAdd", "Switch", "Spread", "Total", "Loop", "Number"])
        )
        if kind == "Switch":
            sides = {"yes": Link(str(draw(earlier))), "no": Link(str(draw(earlier)))}
            nodes.append((kind, {"which": draw(st.booleans()), **sides}))
        elif kind == "Spread":
            nodes.append((kind, {"count": draw(st.integers(0, 3))}))
        elif kind == "Total":
            nodes.append((kind, {"values": Link(str(draw(earlier)))}))
        elif kind == "Loop":
            nodes.append((kind, {"value": Link(str(draw(earlier))), "count": draw(st.integers(0, 3))}))
        elif kind == "Number":
            nodes.append((kind, {"value": draw(st.integers(0, 3))}))
        else:
            nodes.append((kind, {"a": Link(str(draw(earlier))), "b": draw(number_or_link)}))
    return nodes


def lists(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Items) else [value]


def expected(nodes: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """What each node gives, in plain Python."""
    values: list[Any] = []
    for kind, inputs in nodes:
        got = {name: values[int(i.node)] if isinstance(i, Link) else i for name, i in inputs.items()}
        if kind == "Number":
            values.append(got["value"])
        elif kind == "Spread":
            values.append(Items(range(got["count"])))
        elif kind == "Total":
            values.append(sum(lists(got["values"])))
        elif kind == "Switch":
            values.append(got["yes"] if got["which"] else got["no"])
        elif kind == "Loop":
            mapped = [item + got["count"] for item in lists(got["value"])]
            values.append(Items(mapped) if isinstance(got["value"], Items) else mapped[0])
        else:
            values.append(sums(got["a"], got["b"]))
    return values


def sums(a: Any, b: Any) -> Any:
    if not isinstance(a, Items) and not isinstance(b, Items):
        return a + b
    left, right = lists(a), lists(b)
    if not left or not right:
        return Items()
    count = max(len(left), len(right))
    return Items(left[min(i, len(left) - 1)] + right[min(i, len(right) - 1)] for i in range(count))


def needed(nodes: list[tuple[str, dict[str, Any]]], targets: list[int]) -> set[str]:
    found: set[int] = set()
    pending = [*targets]
    while pending:
        position = pending.pop()
        if position not in found:
            found.add(position)
            kind, inputs = nodes[position]
            not_taken = ("no" if inputs["which"] else "yes") if kind == "Switch" else None
            pending.extend(
                int(i.node) for name, i in inputs.items() if isinstance(i, Link) and name != not_taken
            )
    return {str(position) for position in found}


def asks_an_empty_list(nodes: list[tuple[str, dict[str, Any]]], values: list[Any]) -> bool:
    """A lazy input cannot be an item of a list that has none; such graphs fail, and are tested elsewhere."""
    return any(kind == "Switch" and values[position] == Items() for position, (kind, _) in enumerate(nodes))


@settings(deadline=None, max_examples=150)
@given(graphs(), st.data(), st.sampled_from([0, 3000, 1 << 30]))
def test_any_graph(nodes: list[tuple[str, dict[str, Any]]], data: st.DataObject, max_bytes: int) -> None:
    values = expected(nodes)
    if asks_an_empty_list(nodes, values):
        return
    targets = data.draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=3, unique=True))
    drawn = Workflow({str(i): Node(kind, inputs) for i, (kind, inputs) in enumerate(nodes)})
    read = Workflow.from_json(drawn.to_json())
    executor = Executor(REGISTRY, cache=Cache(max_bytes=max_bytes))
    for attempt in range(2):
        result = executor.run(read, targets=[str(target) for target in targets])
        assert result.status == "success", result.errors
        assert result.values == {str(target): (values[target],) for target in targets}
        ran = {node_id for node_id in result.timings if "/" not in node_id}
        assert ran <= needed(nodes, targets)
        if max_bytes > 3000:
            assert attempt == 0 or not ran
            assert ran | set(result.cached) >= needed(nodes, targets) or attempt == 1
    if max_bytes > 3000:
        calls = executor.services.get(Calls, Calls)
        top = {node_id: count for node_id, count in calls.items() if "/" not in node_id}
        longest = max([len(value) for value in values if isinstance(value, Items)] + [1])
        assert all(count <= longest for count in top.values())
