"""Lists along links: fanned out, mapped over, collected."""

from __future__ import annotations

import pytest

from graph import Executor, Expansion, Items, Lazy, Link, Node, Registry, Shown, node
from tests.graph.toys import (
    REGISTRY,
    Calls,
    add,
    fail,
    number,
    run,
    show,
    spread,
    switch,
    total,
    value,
    workflow,
)


def test_a_list_is_mapped_and_collected() -> None:
    drawn = workflow(
        s=Node.of(spread, count=4),
        a=Node.of(add, a=Link("s"), b=10),
        out=Node.of(total, values=Link("a")),
    )
    executor = Executor(REGISTRY)
    assert value(run(drawn, executor, targets=["out"])[0]) == 46
    assert executor.services.get(Calls, Calls)["a"] == 4


def test_a_shorter_list_repeats_its_last_item() -> None:
    drawn = workflow(
        long=Node.of(spread, count=4),
        short=Node.of(spread, count=2),
        a=Node.of(add, a=Link("long"), b=Link("short")),
        out=Node.of(show, value=Link("a")),
    )
    result, _ = run(drawn)
    assert value(result) == Items([0, 2, 3, 4])
    assert result.ui["out"] == {"value": [0, 2, 3, 4]}


def test_no_items_make_no_calls() -> None:
    drawn = workflow(
        s=Node.of(spread, count=0),
        f=Node.of(fail, a=Link("s")),
        out=Node.of(total, values=Link("f")),
    )
    assert value(run(drawn, targets=["out"])[0]) == 0


def test_one_value_is_a_list_of_one() -> None:
    linked = workflow(n=Node.of(number, value=5), out=Node.of(total, values=Link("n")))
    assert value(run(linked, targets=["out"])[0]) == 5
    written = workflow(out=Node("Total", {"values": {"__value__": [1, 2, 3]}}))
    assert value(run(written, targets=["out"])[0]) == 6
    single = workflow(out=Node("Total", {"values": 7}))
    assert value(run(single, targets=["out"])[0]) == 7


def test_a_mapped_list_output_is_joined() -> None:
    drawn = workflow(
        s=Node.of(spread, count=4),
        t=Node.of(spread, count=Link("s")),
        out=Node.of(show, value=Link("t")),
    )
    assert value(run(drawn)[0]) == Items([0, 0, 1, 0, 1, 2])


def test_a_tuple_is_one_value() -> None:
    @node("Tuple", category="toys")
    def pair() -> tuple[int, ...]:
        """Two numbers as one value."""
        return (1, 2)

    drawn = workflow(t=Node.of(pair), out=Node.of(show, value=Link("t")))
    assert value(run(drawn, Executor(Registry.of(pair, show)))[0]) == (1, 2)


def test_a_failing_item_fails_the_node() -> None:
    drawn = workflow(
        s=Node.of(spread, count=3), f=Node.of(fail, a=Link("s")), out=Node.of(show, value=Link("f"))
    )
    assert run(drawn)[0].errors[0].node == "f"


@pytest.mark.parametrize(("which", "expected"), [(True, [0, 1]), (False, [7, 7])])
def test_lazy_inputs_map_too(which: bool, expected: list[int]) -> None:
    @node("Both", category="toys")
    def both(*, index: int, yes: Lazy[int], no: Lazy[int], which: bool) -> int:
        """One of two, once per index."""
        return yes.value() if which else no.value()

    drawn = workflow(
        s=Node.of(spread, count=2),
        n=Node.of(number, value=7),
        b=Node.of(both, index=Link("s"), yes=Link("s"), no=Link("n"), which=which),
        out=Node.of(show, value=Link("b")),
    )
    result, _ = run(drawn, Executor(Registry.of(both, spread, number, show)))
    assert value(result) == Items(expected)


def test_a_lazy_list_comes_whole_and_sets_how_often() -> None:
    @node("Sum", category="toys")
    def lazy_sum(*, values: Lazy[list[int]]) -> int:
        """The sum of a list, when asked for."""
        return sum(values.value())

    drawn = workflow(
        s=Node.of(spread, count=5),
        x=Node.of(lazy_sum, values=Link("s")),
        y=Node.of(switch, which=True, yes=Link("s"), no=Link("s")),
        out=Node.of(show, value=Link("x")),
        mapped=Node.of(show, value=Link("y")),
    )
    result, _ = run(drawn, Executor(Registry.of(lazy_sum, spread, switch, show)))
    assert result.values == {"out": (10,), "mapped": (Items(range(5)),)}


def test_sub_graphs_map_and_join() -> None:
    @node("Grow", category="toys")
    def grow(*, count: int) -> list[int] | Expansion[list[int]]:
        """As many numbers, by a sub-graph for all but none."""
        if count == 0:
            return []
        return Expansion({"s": Node.of(spread, count=count)}, outputs=Link("s"))

    @node("ShowOne", category="toys", output=True)
    def show_one(*, value: int) -> Shown[int]:
        """Show each."""
        return Shown(value, {"value": [value]})

    drawn = workflow(
        s=Node.of(spread, count=3), g=Node.of(grow, count=Link("s")), out=Node.of(show_one, value=Link("g"))
    )
    result, _ = run(drawn, Executor(Registry.of(grow, spread, show_one)))
    assert value(result) == Items([0, 0, 1])
    assert result.ui["out"] == {"value": [0, 0, 1]}
