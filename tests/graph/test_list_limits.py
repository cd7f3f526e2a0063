"""Lists that grow from node to node end with an error, before they fill the memory."""

import asyncio
from typing import NamedTuple

import pytest

from graph import Executor, Link, Node, Registry, Shown, Workflow, mapping, node


@node("Numbers")
def numbers(*, start: int = 0) -> list[int]:
    """Ten numbers."""
    return list(range(start, start + 10))


@node("AsyncNumbers")
async def async_numbers(*, start: int = 0) -> list[int]:
    """The same, later."""
    await asyncio.sleep(0)
    return numbers(start=start)


class Two(NamedTuple):
    """A value and a list."""

    one: int
    many: list[int]


@node("Named")
def named(*, start: int = 0) -> Shown[Two]:
    """The same among other outputs."""
    return Shown(Two(start, numbers(start=start)))


@pytest.mark.parametrize("kind", [numbers, async_numbers, named])
def test_lists_of_lists_of_lists_are_refused(kind: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "MOST_ITEMS", 500)
    registry = Registry.of(numbers, async_numbers, named)
    nodes = {
        "a": Node.of(numbers),
        "b": Node.of(numbers, start=Link("a")),
        "c": Node.of(kind, start=Link("b")),  # type: ignore[arg-type]
    }
    assert len(Executor(registry).run(Workflow(nodes), targets=["b"]).values["b"][0]) == 100
    result = Executor(registry).run(Workflow(nodes), targets=["c"])
    (error,) = result.errors
    assert error.node == "c"
    assert "gave more than 500 items. Shorten one of the lists" in error.message
