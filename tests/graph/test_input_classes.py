"""A value out of an output that may be anything is looked at before a node takes it for what it needs."""

from typing import Any

import pytest

from graph import Executor, Link, Node, NodeError, Registry, Workflow, node


class Thing:
    """What goes over links."""


class Better(Thing):
    """A kind of Thing."""


@node("Anything")
def anything(*, kind: str) -> Any:
    """A value of some type."""
    return {"thing": Thing(), "better": Better(), "number": 5, "nothing": None}[kind]


@node("Several")
def several(*, kind: str) -> list[Any]:
    """A list of values, the last of some type."""
    return [Thing(), anything(kind=kind)]


@node("Use")
def use(*, thing: Thing, other: Thing | None = None) -> str:
    """What it was given."""
    return f"{type(thing).__name__} {type(other).__name__}"


@node("UseAll")
def use_all(*, things: list[Thing]) -> int:
    """How many there are."""
    return len([thing for thing in things if isinstance(thing, Thing)])


def run(source: str, kind: str, user: str, name: str) -> tuple[Any, tuple[NodeError, ...]]:
    registry = Registry.of(anything, several, use, use_all)
    nodes = {
        "s": Node(source, {"kind": kind}),
        "t": Node("Anything", {"kind": "thing"}),
        "u": Node(user, {"thing": Link("t"), name: Link("s")} if user == "Use" else {name: Link("s")}),
    }
    result = Executor(registry).run(Workflow(nodes), targets=["u"])
    return result.values.get("u"), result.errors


@pytest.mark.parametrize("name", ["thing", "other"])
def test_what_fits_is_taken(name: str) -> None:
    assert run("Anything", "better", "Use", name)[1] == ()
    assert run("Several", "better", "UseAll", "things")[0] == (2,)
    assert run("Anything", "nothing", "Use", "other")[0] == ("Thing NoneType",)


@pytest.mark.parametrize(
    ("source", "kind", "user", "name"),
    [
        ("Anything", "number", "Use", "thing"),
        ("Anything", "nothing", "Use", "thing"),
        ("Anything", "number", "Use", "other"),
        ("Several", "number", "Use", "thing"),
        ("Several", "number", "UseAll", "things"),
    ],
)
def test_what_does_not_fit_is_refused(source: str, kind: str, user: str, name: str) -> None:
    _, (error,) = run(source, kind, user, name)
    assert error.node == "u"
    assert error.message.startswith(f"input {name}: found ")
    assert "expected a value of type THING: link it to a node that makes one" in error.message
