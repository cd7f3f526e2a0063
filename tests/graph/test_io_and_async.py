"""Nodes that wait more than they compute: in threads beside the others, or awaited."""

from __future__ import annotations

import asyncio
import threading

from graph import (
    QUIET,
    Context,
    Executor,
    Link,
    Node,
    NodeFinished,
    Registry,
    Shown,
    Workflow,
    node,
)
from tests.graph.toys import number, run, show, value, workflow


@node("Write", category="toys", output=True, io=True)
def write(*, value: int, ctx: Context = QUIET) -> Shown[str]:
    """Write in another thread."""
    ctx.check_cancelled()
    return Shown(threading.current_thread().name, {"saved": [value]})


def test_io_runs_beside_computing() -> None:
    """The writer waits for a node that only runs after it: this ends only if both run at once."""
    computing = threading.Event()

    @node("Slow", category="toys", output=True, io=True)
    def slow() -> str:
        """Wait for the computing node."""
        assert computing.wait(timeout=60)
        return threading.current_thread().name

    @node("Compute", category="toys", output=True)
    def compute() -> str:
        """Let the writer go on."""
        computing.set()
        return threading.current_thread().name

    drawn = workflow(a=Node.of(slow), b=Node.of(compute))
    result, _ = run(drawn, Executor(Registry.of(slow, compute)))
    assert result.status == "success", result.errors
    assert result.values["a"][0].startswith("weft-io")
    assert result.values["b"] == (threading.current_thread().name,)


def test_many_io_nodes_run_in_order() -> None:
    drawn = Workflow(
        {
            **{f"n{i}": Node.of(number, value=i) for i in range(50)},
            **{f"w{i}": Node.of(write, value=Link(f"n{i}")) for i in range(50)},
        }
    )
    result, events = run(drawn, Executor(Registry.of(number, write)))
    assert len(result.values) == 50
    order = [event.ui["saved"] for event in events if isinstance(event, NodeFinished) and event.ui]
    assert order == [[i] for i in range(50)]


def test_io_that_fails_is_a_failure_like_others() -> None:
    @node("Full", category="toys", output=True, io=True)
    def full() -> int:
        """Fail to write."""
        raise OSError("no space left")

    result, _ = run(workflow(out=Node.of(full)), Executor(Registry.of(full)))
    assert [(error.node, error.message) for error in result.errors] == [("out", "no space left")]


@node("Ask", category="toys")
async def ask(*, value: int, ctx: Context = QUIET) -> int:
    """Wait a moment for an answer."""
    await asyncio.sleep(0)
    ctx.progress(1, 1)
    return value * 2


def test_async_nodes_are_awaited() -> None:
    drawn = workflow(
        a=Node.of(ask, value=4), b=Node.of(ask, value=Link("a")), out=Node.of(show, value=Link("b"))
    )
    result, _ = run(drawn, Executor(Registry.of(ask, show)))
    assert value(result) == 16


def test_async_nodes_run_at_once() -> None:
    """Two nodes that wait for each other end only if they are awaited together."""
    met = threading.Barrier(2, timeout=60)

    @node("Meet", category="toys", output=True)
    async def meet(*, who: int) -> int:
        """Wait for the other."""
        await asyncio.get_running_loop().run_in_executor(None, met.wait)
        return who

    drawn = workflow(a=Node.of(meet, who=1), b=Node.of(meet, who=2))
    assert run(drawn, Executor(Registry.of(meet)))[0].values == {"a": (1,), "b": (2,)}


def test_cancelling_ends_what_is_awaited() -> None:
    cancel = threading.Event()

    cleaned_up: list[str] = []

    @node("Forever", category="toys", output=True)
    async def forever() -> int:
        """Wait for ever."""
        cancel.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append("yes")
        return 1

    result, _ = run(workflow(out=Node.of(forever)), Executor(Registry.of(forever)), cancel=cancel)
    assert result.status == "cancelled"
    assert cleaned_up == ["yes"]


def test_async_failures() -> None:
    @node("AsyncExit", category="toys", output=True)
    async def leaves() -> int:
        """Exit."""
        raise SystemExit(1)

    @node("AsyncFail", category="toys", output=True)
    async def fails() -> int:
        """Fail."""
        raise ValueError("not now")

    drawn = workflow(a=Node.of(leaves), b=Node.of(fails))
    result, _ = run(drawn, Executor(Registry.of(leaves, fails)))
    assert {error.node: error.message for error in result.errors} == {
        "a": "the node called sys.exit(1)",
        "b": "not now",
    }
