"""What a node returns is held against its signature, and a failing node's own line is told."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NewType, Protocol, TypeVar

import numpy as np
import pytest

from graph import Executor, Expansion, Link, Node, NodeError, Registry, node
from tests.graph.toys import REGISTRY, add, run, workflow


class Thing:
    """A value with a class."""


class Small(Thing):
    """A kind of Thing."""


class Sized(Protocol):
    """Only a type checker can tell what this is."""

    size: int


class Both(NamedTuple):
    FIRST: int
    SECOND: Thing | None


Picture = NewType("Picture", Thing)
T = TypeVar("T")


def failure(hint: Any, given: Any) -> NodeError | None:
    """The error of a node that declares `hint` and returns `given`; None if it is let through."""

    def returning() -> Any:
        """Return it."""
        return given

    returning.__annotations__["return"] = hint
    made = node("Returning", category="toys")(returning)
    result, _ = run(workflow(out=Node.of(made)), Executor(Registry.of(made)), targets=["out"])
    return result.errors[0] if result.errors else None


@pytest.mark.parametrize(
    ("hint", "given"),
    [
        (Thing, Small()),
        (Picture, Thing()),
        (Thing | None, None),
        (int | str, "a"),
        (int, np.int64(3)),
        (int, True),
        (float, 3),
        (float, np.float32(0.5)),
        (Any, "a"),
        (object, None),
        (T, None),
        (Any | None, "a"),
        (Mapping[str, int], {"a": 1}),
        (tuple[int, ...], (1, 2)),
        (list[int], [1, 2]),
        (list[Thing], []),
        (Sized, "a"),
        (Both, Both(1, None)),
    ],
)
def test_what_is_declared_may_be_returned(hint: Any, given: Any) -> None:
    assert failure(hint, given) is None


@pytest.mark.parametrize(
    ("hint", "given", "said"),
    [
        (Picture, "hello", "Returning returned a str where its signature says PICTURE"),
        (Thing, None, "Returning returned None where its signature says THING"),
        (Thing | None, 3, "returned an int where"),
        (int, "3", "returned a str where its signature says INT"),
        (int, 2.5, "returned a float where its signature says INT"),
        (str, 3, "returned an int where its signature says STRING"),
        (tuple[int, ...], [1], "returned a list where its signature says TUPLE"),
        (list[Thing], [Thing(), "a"], "returned a str in its list where its signature says THING"),
        (Both, (1, "a"), "returned a str as SECOND where its signature says THING"),
    ],
)
def test_anything_else_is_the_nodes_own_fault(hint: Any, given: Any, said: str) -> None:
    error = failure(hint, given)
    assert error is not None
    assert said in error.message
    line = inspect.getsourcelines(failure)[1] + 3
    assert error.where == f"graph/{Path(__file__).name}:{line}"


def test_a_value_in_place_of_a_sub_graphs_output_is_held_against_it_too() -> None:
    @node("Outer", category="toys")
    def outer() -> int | Expansion[int]:
        """A sub-graph and a wrong value."""
        return Expansion({"a": Node.of(add, a=1)}, outputs="hello")

    registry = Registry.of(outer, add)
    result, _ = run(workflow(out=Node.of(outer)), Executor(registry), targets=["out"])
    assert result.errors[0].message == "Outer returned a str where its signature says INT"


def test_a_failing_node_tells_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "my_nodes").mkdir()
    (tmp_path / "my_nodes" / "broken.py").write_text(
        "import json\nfrom graph import node\n\n"
        '@node("Broken")\ndef broken(*, a: int = 0) -> int:\n    """Broken."""\n    return inner(a)\n\n'
        "def inner(a):\n    return json.loads('{')\n"
    )
    registry = REGISTRY.discover(tmp_path / "my_nodes", group=None)
    result, _ = run(workflow(out=Node("Broken")), Executor(registry), targets=["out"])
    assert result.errors[0].where == "my_nodes/broken.py:10"


def test_a_node_that_was_not_called_has_no_line() -> None:
    @node("Text", category="toys")
    def text() -> Any:
        """A text."""
        return "x"

    drawn = workflow(a=Node.of(text), out=Node.of(add, a=Link("a")))
    result, _ = run(drawn, Executor(Registry.of(text, add)), targets=["out"])
    assert "input a" in result.errors[0].message
    assert result.errors[0].where == ""
