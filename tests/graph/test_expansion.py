"""Nodes that return a sub-graph to run in their place."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any, NamedTuple

import pytest

from graph import (
    Cache,
    Executor,
    Expansion,
    Lazy,
    Link,
    Node,
    NodeCached,
    NodeStarted,
    Registry,
    Shown,
    Workflow,
    node,
)
from tests.graph.toys import Calls, T, add, fail, loop, number, run, show, split, switch, value, workflow


class Three(NamedTuple):
    A: int
    B: int
    C: str


def executor_of(*functions: Any, **options: Any) -> Executor:
    return Executor(Registry.of(number, add, fail, show, split, *functions), **options)


def test_a_sub_graph_runs_in_the_nodes_place() -> None:
    @node("AddTwice", category="toys")
    def add_twice(*, a: int) -> Expansion[int]:
        """Add two, in two steps."""
        return Expansion({"x": Node.of(add, a=a), "y": Node.of(add, a=Link("x"))}, outputs=Link("y"))

    drawn = workflow(
        n=Node.of(number, value=5), t=Node.of(add_twice, a=Link("n")), out=Node.of(show, value=Link("t"))
    )
    result, events = run(drawn, executor_of(add_twice))
    assert value(result) == 7
    inner = [event for event in events if isinstance(event, NodeStarted) and event.node != event.origin]
    assert [(event.origin, event.class_type) for event in inner] == [("t", "Add"), ("t", "Add")]
    assert len({event.node for event in inner}) == 2


def test_links_to_its_own_inputs_are_passed_on_unasked() -> None:
    @node("Pick", category="toys")
    def pick(*, first: bool, a: Lazy[T], b: Lazy[T]) -> Expansion[T]:
        """One of two, by a sub-graph."""
        return Expansion({"same": Node("Same", {"value": a if first else b})}, outputs=Link("same"))

    @node("Same", category="toys")
    def same(*, value: Any) -> Any:
        """The same."""
        return value

    drawn = workflow(
        n=Node.of(number, value=5),
        bad=Node.of(fail, a=1),
        p=Node.of(pick, first=True, a=Link("n"), b=Link("bad")),
        out=Node.of(show, value=Link("p")),
    )
    result, _ = run(drawn, executor_of(pick, same))
    assert value(result) == 5
    assert "bad" not in result.timings


def test_an_output_may_be_an_own_input_or_a_value() -> None:
    @node("Mixed", category="toys")
    def mixed(*, a: Lazy[int]) -> Expansion[Three]:
        """A link, a node's output and a value."""
        return Expansion({"s": Node.of(add, a=a)}, outputs=(a, Link("s"), "text"))

    drawn = workflow(
        n=Node.of(number, value=5),
        m=Node.of(mixed, a=Link("n")),
        **{f"o{i}": Node.of(show, value=Link("m", i)) for i in range(3)},
    )
    result, _ = run(drawn, executor_of(mixed))
    assert result.values == {"o0": (5,), "o1": (6,), "o2": ("text",)}


def test_live_values_go_into_a_sub_graph() -> None:
    class Thing:
        """No JSON."""

    @node("GiveThing", category="toys")
    def give(*, count: int) -> Expansion[str]:
        """Hand an object to a node."""
        return Expansion(
            {"n": Node("NameOf", {"thing": Thing(), "things": [Thing()] * count})}, outputs=Link("n")
        )

    @node("NameOf", category="toys")
    def name_of(*, thing: Any, things: list[Any]) -> str:
        """What it is."""
        return f"{type(thing).__name__} and {len(things)}"

    drawn = workflow(g=Node.of(give, count=3), out=Node.of(show, value=Link("g")))
    executor = executor_of(give, name_of)
    assert value(run(drawn, executor)[0]) == "Thing and 3"
    changed, _ = run(drawn.with_input("g", "count", 4), executor)
    assert value(changed) == "Thing and 4"


def test_a_sub_graph_is_cached_whole_and_by_node() -> None:
    executor = executor_of(loop)
    drawn = workflow(l=Node.of(loop, value=0, count=5), out=Node.of(show, value=Link("l")))
    assert value(run(drawn, executor)[0]) == 5
    again, _ = run(drawn, executor)
    assert again.timings == {}
    shorter, events = run(drawn.with_input("l", "count", 4), executor)
    assert value(shorter) == 4
    assert any(isinstance(event, NodeCached) and event.origin == "l" for event in events)


def test_output_nodes_inside_run_and_are_shown() -> None:
    @node("ShowAll", category="toys", output=True)
    def show_all(*, count: int) -> Shown[None] | Expansion[None]:
        """Show each number below count."""
        return Expansion({str(i): Node.of(show, value=i) for i in range(count)})

    executor = executor_of(show_all)
    drawn = workflow(out=Node.of(show_all, count=3))
    result, _ = run(drawn, executor)
    assert result.ui == {"out": {"value": [0, 1, 2]}}
    again, _ = run(drawn, executor)
    assert (again.ui, again.timings) == (result.ui, {})


def test_a_failure_inside_is_told_where_it_happened() -> None:
    @node("Trap", category="toys")
    def trap(*, a: int) -> Expansion[int]:
        """Fail inside."""
        return Expansion({"bad": Node.of(fail, a=a, why="inside")}, outputs=Link("bad"))

    drawn = workflow(t=Node.of(trap, a=1), out=Node.of(show, value=Link("t")), ok=Node.of(show, value=1))
    result, _ = run(drawn, executor_of(trap))
    (error,) = result.errors
    assert (error.origin, error.class_type, error.message) == ("t", "Fail", "inside")
    assert set(result.skipped) == {"t", "out"}
    assert result.values == {"ok": (1,)}


@pytest.mark.parametrize(
    ("nodes", "outputs", "said"),
    [
        ({"a": Node("Nope")}, Link("a"), "no node class 'Nope'"),
        ({"a": Node("Add", {})}, Link("a"), "input a is missing"),
        ({"a": Node("Add", {"a": 1, "z": 2})}, Link("a"), "no input 'z'"),
        ({"a": Node("Add", {"a": "x"})}, Link("a"), "expected a whole number"),
        ({"a": Node("Add", {"a": Link("b")})}, Link("a"), "linked to 'b', which is not in it"),
        ({"a": Node("Add", {"a": Link("a")})}, Link("a"), "cycle: "),
        (
            {"s": Node("Split", {"value": 1}), "a": Node("Add", {"a": Link("s", 1)})},
            Link("a"),
            "of type STRING",
        ),
        ({"s": Node("Split", {"value": 1}), "a": Node("Add", {"a": Link("s", 2)})}, Link("a"), "output 2"),
        ({}, Link("gone"), "linked to 'gone'"),
        ({"s": Node("Split", {"value": 1})}, Link("s", 5), "output 5"),
    ],
)
def test_a_wrong_sub_graph_is_the_nodes_failure(nodes: dict[str, Node], outputs: Any, said: str) -> None:
    @node("Wrong", category="toys", output=True)
    def wrong() -> Expansion[int]:
        """Return what cannot run."""
        return Expansion(nodes, outputs)

    result, _ = run(workflow(out=Node.of(wrong)), executor_of(wrong))
    (error,) = result.errors
    assert error.node == "out"
    assert said in error.message


def test_a_loop_of_a_thousand_rounds_needs_no_stack() -> None:
    deepest: set[int] = set()

    @node("Deep", category="toys")
    def deep(*, value: int) -> int:
        """How deep the stack is."""
        depth, frame = 0, sys._getframe()
        while frame is not None:
            depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
        deepest.add(depth)
        return value + 1

    @node("Rounds", category="toys")
    def rounds(*, value: int, count: int) -> int | Expansion[int]:
        """So many rounds."""
        if count == 0:
            return value
        nodes = {"d": Node.of(deep, value=value), "r": Node.of(rounds, value=Link("d"), count=count - 1)}
        return Expansion(nodes, outputs=Link("r"))

    drawn = workflow(r=Node.of(rounds, value=0, count=1000), out=Node.of(show, value=Link("r")))
    result, _ = run(drawn, executor_of(deep, rounds))
    assert value(result) == 1000
    assert len(deepest) == 1


@node("Body", category="toys")
def body(*, value: bytes) -> bytes:
    """New bytes."""
    return bytes(len(value))


@node("Bytes", category="toys")
def some_bytes(*, size: int) -> bytes:
    """So many bytes."""
    return bytes(size)


@node("Rounds", category="toys")
def rounds_of_bytes(*, value: bytes, count: int) -> bytes | Expansion[bytes]:
    """So many rounds."""
    if count == 0:
        return value
    nodes = {
        "b": Node.of(body, value=value),
        "again": Node("Rounds", {"value": Link("b"), "count": count - 1}),
    }
    return Expansion(nodes, outputs=Link("again"))


@node("LazyRounds", category="toys")
def lazy_rounds(*, value: bytes, count: int) -> bytes | Expansion[bytes]:
    """So many rounds, each with a side that is not taken and holds the value."""
    if count == 0:
        return value
    nodes = {
        "first": Node.of(body, value=value),
        "idle": Node.of(body, value=Link("first")),
        "deeper": Node.of(body, value=Link("idle")),
        "other": Node.of(body, value=value),
        "unlinked": Node.of(body, value=value),
        "taken": Node.of(switch, which=True, yes=Link("first"), no=Link("deeper")),
        "never": Node.of(switch, which=True, yes=Link("taken"), no=Link("other")),
        "again": Node("LazyRounds", {"value": Link("never"), "count": count - 1}),
    }
    return Expansion(nodes, outputs=Link("again"))


@pytest.mark.parametrize("rounds", [rounds_of_bytes, lazy_rounds])
def test_a_loop_keeps_no_more_than_one_rounds_values(rounds: Any) -> None:
    size = 1 << 20
    drawn = workflow(s=Node.of(some_bytes, size=size), r=Node.of(rounds, value=Link("s"), count=200))
    executor = Executor(Registry.of(body, some_bytes, rounds, switch), cache=Cache(max_bytes=size // 2))
    tracemalloc.start()
    result, _ = run(drawn, executor, targets=["r"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.status == "success", result.errors
    assert peak < 12 * size


def test_what_a_sub_graph_asks_for_late_is_still_there() -> None:
    """Nothing is cached, and the value that is asked for last was made first."""

    @node("Late", category="toys")
    def late() -> Expansion[int]:
        """Ask for a side whose source is done long before."""
        nodes = {
            "n": Node.of(number, value=5),
            "side": Node.of(add, a=Link("n"), b=100),
            "flag": Node("After", {"value": Link("n")}),
            "out": Node.of(switch, which=Link("flag"), yes=Link("side"), no=Link("n")),
        }
        return Expansion(nodes, outputs=Link("out"))

    @node("After", category="toys")
    def after(*, value: int) -> bool:
        """True, after a value."""
        return True

    drawn = workflow(l=Node.of(late), out=Node.of(show, value=Link("l")))
    executor = executor_of(late, after, switch, cache=Cache(max_bytes=0))
    assert value(run(drawn, executor)[0]) == 105
    assert sum(executor.services.get(Calls, Calls).values()) == 3


def test_a_loop_in_a_loop_counts_its_calls() -> None:
    drawn = Workflow(
        {
            "a": Node.of(loop, value=0, count=3),
            "b": Node.of(loop, value=Link("a"), count=2),
            "out": Node.of(show, value=Link("b")),
        }
    )
    executor = executor_of(loop, cache=Cache(max_bytes=0))
    assert value(run(drawn, executor)[0]) == 5
    assert sum(executor.services.get(Calls, Calls).values()) == 5 + 1
