"""Lazy inputs: computed only if asked for, and never twice."""

from __future__ import annotations

import pytest

from graph import QUIET, Cache, Context, Executor, Lazy, Link, Node, Registry, Workflow, node
from tests.graph.toys import REGISTRY, Calls, add, fail, number, run, show, switch, value, workflow


def choice(which: bool) -> Workflow:
    return workflow(
        a=Node.of(number, value=1),
        b=Node.of(number, value=2),
        s=Node.of(switch, which=which, yes=Link("a"), no=Link("b")),
        out=Node.of(show, value=Link("s")),
    )


@pytest.mark.parametrize(("which", "expected", "not_run"), [(True, 1, "b"), (False, 2, "a")])
def test_what_is_not_asked_for_does_not_run(which: bool, expected: int, not_run: str) -> None:
    result, _ = run(choice(which))
    assert value(result) == expected
    assert not_run not in result.timings
    assert result.timings.keys() == {"a", "b", "s", "out"} - {not_run}


def test_a_switch_is_cached_without_its_other_side() -> None:
    executor = Executor(REGISTRY)
    run(choice(True), executor)
    result, _ = run(choice(True), executor)
    assert result.timings == {}
    assert "b" not in result.cached


def test_a_failing_side_that_is_not_asked_for_does_no_harm() -> None:
    drawn = workflow(
        a=Node.of(number, value=1),
        bad=Node.of(fail, a=1),
        s=Node.of(switch, which=True, yes=Link("a"), no=Link("bad")),
        out=Node.of(show, value=Link("s")),
    )
    assert value(run(drawn)[0]) == 1
    asked, _ = run(drawn.with_input("s", "which", False))
    assert asked.status == "failed"
    assert set(asked.skipped) == {"s", "out"}


def test_constants_and_absent_inputs_are_lazy_too() -> None:
    @node("Or", category="toys", output=True)
    def either(*, a: Lazy[int] | None = None, b: Lazy[int]) -> int:
        """The first that is there."""
        return a.value() if a is not None else b()

    registry = Registry.of(either, number)
    assert value(run(workflow(out=Node.of(either, b=5)), Executor(registry))[0]) == 5
    linked = workflow(n=Node.of(number, value=3), out=Node.of(either, a=Link("n"), b=5))
    assert value(run(linked, Executor(registry))[0]) == 3


def test_a_chain_of_switches_needs_no_stack() -> None:
    nodes = {"0": Node.of(number, value=7)}
    for i in range(1, 3000):
        nodes[str(i)] = Node.of(switch, which=True, yes=Link(str(i - 1)), no=Link("0"))
    nodes["out"] = Node.of(show, value=Link("2999"))
    assert value(run(Workflow(nodes))[0]) == 7


def test_what_was_computed_for_another_is_not_computed_again() -> None:
    """The shared node is done before the lazy one asks for it, and nothing is cached."""
    drawn = workflow(
        shared=Node.of(number, value=4),
        first=Node.of(add, a=Link("shared")),
        asks=Node.of(switch, which=Link("flag"), yes=Link("shared"), no=Link("first")),
        flag=Node("Truth", {"after": Link("first")}),
        out=Node.of(show, value=Link("asks")),
    )

    @node("Truth", category="toys")
    def truth(*, after: int) -> bool:
        """True, but only after something else."""
        return True

    registry = Registry.of(*(spec.function for spec in REGISTRY.values()), truth)
    executor = Executor(registry, cache=Cache(max_bytes=0))
    assert value(run(drawn, executor)[0]) == 4
    assert executor.services.get(Calls, Calls)["shared"] == 1


def test_io_and_async_nodes_may_be_lazy() -> None:
    @node("Later", category="toys", io=True)
    def later(*, which: bool, yes: Lazy[int], no: Lazy[int], ctx: Context = QUIET) -> int:
        """One of two, in a thread."""
        return yes.value() if which else no.value()

    @node("AsyncLater", category="toys")
    async def async_later(*, which: bool, yes: Lazy[int], no: Lazy[int]) -> int:
        """One of two, awaited."""
        return yes.value() if which else no.value()

    drawn = workflow(
        a=Node.of(number, value=1),
        b=Node.of(number, value=2),
        s=Node.of(later, which=False, yes=Link("a"), no=Link("b")),
        t=Node.of(async_later, which=True, yes=Link("s"), no=Link("a")),
        out=Node.of(show, value=Link("t")),
    )
    result, _ = run(drawn, Executor(Registry.of(later, async_later, number, show)))
    assert value(result) == 2
    assert "a" not in result.timings
