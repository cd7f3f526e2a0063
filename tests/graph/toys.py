"""Small nodes, and short ways to run them, for tests of the graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NewType, TypeVar

from graph import (
    QUIET,
    Choice,
    Context,
    Event,
    Executor,
    Expansion,
    File,
    Folders,
    Lazy,
    Link,
    Node,
    Range,
    Registry,
    RunResult,
    Seed,
    Shown,
    Text,
    Workflow,
    node,
)

Image = NewType("Image", object)
Mask = NewType("Mask", object)
T = TypeVar("T")


class Calls(Counter[str]):
    """How often each node was called, by its id; a service of the run."""


class Pair(NamedTuple):
    FIRST: int
    SECOND: str


@node("Number", category="toys")
def number(*, value: int = 0, ctx: Context = QUIET) -> int:
    """A whole number."""
    ctx.service(Calls, Calls)[ctx.node_id] += 1
    return value


@node("Add", category="toys")
def add(*, a: int, b: int = 1, ctx: Context = QUIET) -> int:
    """The sum of two numbers."""
    ctx.service(Calls, Calls)[ctx.node_id] += 1
    return a + b


@node("Fail", category="toys")
def fail(*, a: int, why: str = "no reason") -> int:
    """Fail, with a reason."""
    raise RuntimeError(why)


@node("Show", category="toys", output=True)
def show(*, value: Any, ctx: Context = QUIET) -> Shown[Any]:
    """Show a value."""
    ctx.service(Calls, Calls)[ctx.node_id] += 1
    return Shown(value, {"value": [value]})


@node("Sampler", category="toys/sampling", title="Sample it")
def sampler(
    *,
    image: Image,
    seed: Annotated[int, Seed()] = 0,
    steps: Annotated[int, Range(1, 100)] = 20,
    cfg: Annotated[float, Range(0, 30, step=0.5)] = 8.0,
    method: Annotated[str, Choice(("euler", "heun", "ddim"))] = "euler",
    text: Annotated[str, Text()] = "",
    mask: Mask | None = None,
) -> Image:
    """Make an image out of an image.

    A second paragraph.

    Inputs:
        image: where to start
        steps: how many steps
            are taken

    Outputs:
        IMAGE: the picture
    """
    return image


@node("LoadThing", category="toys")
def load_thing(*, name: Annotated[str, File("things")]) -> Image:
    """Load a file."""
    return Image(name)


@node("Split", category="toys")
def split(*, value: int) -> Pair:
    """A number, and its text."""
    return Pair(value, str(value))


@node("Spread", category="toys")
def spread(*, count: int) -> list[int]:
    """The numbers below count, one by one."""
    return list(range(count))


@node("Total", category="toys")
def total(*, values: list[int]) -> int:
    """The sum of a whole list."""
    return sum(values)


@node("Switch", category="toys")
def switch(*, which: bool, yes: Lazy[T], no: Lazy[T]) -> T:
    """One of two values; the other is not computed."""
    return yes.value() if which else no.value()


@node("Loop", category="toys")
def loop(*, value: int, count: int) -> int | Expansion[int]:
    """Add one, count times, as sub-graphs."""
    if count == 0:
        return value
    nodes = {"add": Node.of(add, a=value), "again": Node.of(loop, value=Link("add"), count=count - 1)}
    return Expansion(nodes, outputs=Link("again"))


REGISTRY = Registry.of(
    number, add, fail, show, sampler, load_thing, split, spread, total, switch, loop
)  # fmt: skip


def workflow(**nodes: Node) -> Workflow:
    return Workflow(nodes)


def run(drawn: Workflow, executor: Executor | None = None, **options: Any) -> tuple[RunResult, list[Event]]:
    """Run a workflow and give its result and its events."""
    events: list[Event] = []
    result = (executor or Executor(REGISTRY)).run(drawn, on_event=events.append, **options)
    return result, events


def value(result: RunResult, node_id: str = "out") -> Any:
    """The one output of a target of a run that went well."""
    assert result.status == "success", result.errors
    (output,) = result.values[node_id]
    return output


def folders_in(root: Path) -> Folders:
    return Folders((root / "models",), root / "input", root / "output", root / "temp")
