"""What runs, in which order, what is told of it, and what a failure stops."""

from __future__ import annotations

import threading
from typing import Annotated, Any, NamedTuple

import pytest

from graph import (
    QUIET,
    Cache,
    Cancelled,
    Context,
    Executor,
    Link,
    Node,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    Range,
    Registry,
    RunFinished,
    RunStarted,
    Workflow,
    WorkflowError,
    node,
)
from tests.graph.toys import REGISTRY, Calls, add, fail, number, run, show, split, value, workflow

SUM = workflow(
    one=Node.of(number, value=1),
    two=Node.of(add, a=Link("one"), b=1),
    stray=Node.of(add, a=Link("two"), b=100),
    out=Node.of(show, value=Link("two")),
)


def ran(result: Any) -> set[str]:
    return set(result.timings)


def test_only_what_the_outputs_need_runs() -> None:
    result, events = run(SUM)
    assert value(result) == 2
    assert ran(result) == {"one", "two", "out"}
    assert result.ui == {"out": {"value": [2]}}
    assert [type(event) for event in events] == [
        RunStarted,
        *[NodeStarted, NodeFinished] * 3,
        RunFinished,
    ]
    assert [event.node for event in events if isinstance(event, NodeStarted)] == ["one", "two", "out"]
    assert events[0] == RunStarted(("out",), 3)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == "success"


def test_targets_choose_what_runs() -> None:
    result, _ = run(SUM, targets=["stray"])
    assert result.values == {"stray": (102,)}
    assert ran(result) == {"one", "two", "stray"}


def test_outputs_are_taken_by_index() -> None:
    drawn = workflow(
        s=Node.of(split, value=7),
        first=Node.of(show, value=Link("s", 0)),
        second=Node.of(show, value=Link("s", 1)),
    )
    result, _ = run(drawn)
    assert result.values == {"first": (7,), "second": ("7",)}


def test_a_second_run_is_cached_and_says_so() -> None:
    executor = Executor(REGISTRY)
    run(SUM, executor)
    result, events = run(SUM, executor)
    assert value(result) == 2
    assert ran(result) == set()
    assert result.ui == {"out": {"value": [2]}}
    assert [event for event in events if isinstance(event, NodeCached)] == [
        NodeCached("one", "one"),
        NodeCached("two", "two"),
        NodeCached("out", "out", {"value": [2]}),
    ]
    assert result.cached == ("one", "two", "out")


def test_only_what_a_change_reaches_runs_again() -> None:
    executor = Executor(REGISTRY)
    run(SUM, executor)
    result, _ = run(SUM.with_input("two", "b", 5), executor)
    assert value(result) == 6
    assert ran(result) == {"two", "out"}
    assert result.cached == ("one",)


def test_ids_titles_and_written_out_defaults_change_nothing() -> None:
    executor = Executor(REGISTRY)
    run(SUM, executor)
    again = workflow(
        a=Node.of(number, value=1),
        b=Node("Add", {"a": Link("a"), "b": "1"}, {"title": "Sum"}),
        out=Node.of(show, value=Link("b")),
    )
    result, _ = run(again, executor)
    assert ran(result) == set()


def test_twice_the_same_node_is_one_result() -> None:
    drawn = workflow(
        a=Node.of(number, value=3),
        x=Node.of(add, a=Link("a"), b=Link("a")),
        out=Node.of(show, value=Link("x")),
    )
    executor = Executor(REGISTRY)
    assert value(run(drawn, executor)[0]) == 6
    assert executor.services.get(Calls, Calls) == {"a": 1, "x": 1, "out": 1}


def test_two_nodes_alike_run_once() -> None:
    drawn = workflow(
        a=Node.of(number, value=3),
        b=Node.of(number, value=3),
        out=Node.of(show, value=Link("a")),
        too=Node.of(show, value=Link("b")),
    )
    executor = Executor(REGISTRY)
    result, events = run(drawn, executor)
    assert result.values == {"out": (3,), "too": (3,)}
    assert result.ui == {"out": {"value": [3]}, "too": {"value": [3]}}
    assert sum(executor.services.get(Calls, Calls).values()) == 2
    assert {event.node for event in events if isinstance(event, NodeCached)} == {"b", "too"}


def test_a_failure_stops_what_depends_on_it_and_nothing_else() -> None:
    drawn = workflow(
        one=Node.of(number, value=1),
        bad=Node("Fail", {"a": Link("one"), "why": "on purpose"}, {"title": "The bad one"}),
        after=Node.of(add, a=Link("bad")),
        lost=Node.of(show, value=Link("after")),
        out=Node.of(show, value=Link("one")),
    )
    executor = Executor(REGISTRY)
    result, events = run(drawn, executor)
    assert result.status == "failed"
    assert result.values == {"out": (1,)}
    assert set(result.skipped) == {"after", "lost"}
    (error,) = result.errors
    assert (error.node, error.class_type, error.title) == ("bad", "Fail", "The bad one")
    assert (error.message, error.exception_type) == ("on purpose", "RuntimeError")
    assert error.inputs == {"a": "1", "why": "'on purpose'"}
    assert any("raise RuntimeError(why)" in line for line in error.traceback)
    assert not any("graph/run.py" in line for line in error.traceback)
    assert [event.error for event in events if isinstance(event, NodeFailed)] == [error]
    assert run(SUM, executor)[0].status == "success"


def test_a_value_that_cannot_be_looked_at_hides_no_error() -> None:
    class Shy:
        @property
        def shape(self) -> tuple[int, ...]:
            raise RuntimeError("not now")

    @node("GiveShy", category="toys")
    def give() -> Any:
        """Something that cannot be looked at."""
        return Shy()

    @node("TakeShy", category="toys", output=True)
    def take(*, value: Any) -> int:
        """Fail."""
        raise ValueError("the real one")

    drawn = workflow(g=Node.of(give), out=Node.of(take, value=Link("g")))
    (error,) = run(drawn, Executor(Registry.of(give, take)))[0].errors
    assert (error.message, error.inputs) == ("the real one", {"value": "Shy"})


def test_several_failures_are_all_told() -> None:
    drawn = workflow(
        **{key: Node.of(fail, a=1, why=key) for key in ("x", "y")},
        p=Node.of(show, value=Link("x")),
        q=Node.of(show, value=Link("y")),
    )
    result, _ = run(drawn)
    assert {error.message for error in result.errors} == {"x", "y"}


@node("Quit", category="toys", output=True)
def leave(*, how: str) -> int:
    """Try to end the process."""
    if how == "exit":
        raise SystemExit(3)
    if how == "deep":
        return leave(how="deep")
    return [][0]


@pytest.mark.parametrize(
    ("how", "kind"), [("exit", "SystemExit"), ("deep", "RecursionError"), ("", "IndexError")]
)
def test_nothing_a_node_raises_ends_the_process(how: str, kind: str) -> None:
    result, _ = run(workflow(out=Node.of(leave, how=how)), Executor(Registry.of(leave)))
    assert [error.exception_type for error in result.errors] == [kind]


class Wide(NamedTuple):
    A: int
    B: int


def test_what_a_node_returns_is_checked() -> None:
    @node("Wrong", category="toys", output=True)
    def wrong(*, how: int = 0) -> Wide:
        """Return the wrong number of values."""
        return (1, 2, 3)  # type: ignore[return-value]

    @node("Some", category="toys", output=True)
    def some() -> None:
        """Return something after all."""
        return 3  # type: ignore[return-value]

    @node("List", category="toys", output=True)
    def listed() -> list[int]:
        """Return no list."""
        return 3  # type: ignore[return-value]

    registry = Registry.of(wrong, some, listed)
    drawn = workflow(a=Node("Wrong"), b=Node("Some"), c=Node("List"))
    result, _ = run(drawn, Executor(registry))
    assert [error.message for error in sorted(result.errors, key=lambda error: error.node)] == [
        "it returned tuple of 3, where 2 values were declared: A, B",
        "it returned 3, where nothing was declared",
        "output INT is 3, where a list was declared",
    ]


def test_values_over_links_are_checked() -> None:
    @node("Bounded", category="toys", output=True)
    def bounded(*, steps: Annotated[int, Range(1, 10)]) -> int:
        """Take a few."""
        return steps

    @node("Raw", category="toys")
    def raw() -> Any:
        """Give something else."""
        return "many"

    registry = Registry.of(bounded, raw, number)
    high, _ = run(
        workflow(n=Node.of(number, value=11), out=Node.of(bounded, steps=Link("n"))), Executor(registry)
    )
    assert high.errors[0].message == "input steps: found 11, expected at most 10."
    text, _ = run(workflow(n=Node.of(raw), out=Node.of(bounded, steps=Link("n"))), Executor(registry))
    assert text.errors[0].message == "input steps: found 'many', expected a whole number"


@node("Steps", category="toys", output=True)
def steps(*, count: int, ctx: Context = QUIET) -> int:
    """Count, step by step."""
    for done in range(count):
        ctx.progress(done + 1, count, preview=done)
    return count


def test_progress_is_told() -> None:
    result, events = run(workflow(out=Node.of(steps, count=3)), Executor(Registry.of(steps)))
    assert value(result) == 3
    told = [event for event in events if isinstance(event, NodeProgress)]
    assert [(event.node, event.done, event.total, event.preview) for event in told] == [
        ("out", 1, 3, 0),
        ("out", 2, 3, 1),
        ("out", 3, 3, 2),
    ]


def test_cancelling_is_seen_at_the_next_step() -> None:
    cancel = threading.Event()
    seen: list[NodeProgress] = []

    def listen(event: object) -> None:
        if isinstance(event, NodeProgress):
            seen.append(event)
            if event.done == 2:
                cancel.set()

    executor = Executor(Registry.of(steps))
    drawn = workflow(a=Node.of(steps, count=1000), b=Node.of(steps, count=1001))
    result = executor.run(drawn, on_event=listen, cancel=cancel)
    assert result.status == "cancelled"
    assert len(seen) == 2
    assert result.values == {}
    cancel.clear()
    assert executor.run(drawn, cancel=cancel).status == "success"


def test_a_run_cancelled_beforehand_runs_nothing() -> None:
    cancel = threading.Event()
    cancel.set()
    result, events = run(SUM, cancel=cancel)
    assert result.status == "cancelled"
    assert ran(result) == set()
    assert [type(event) for event in events] == [RunStarted, RunFinished]


def test_a_node_may_cancel_the_run_itself() -> None:
    @node("Stop", category="toys", output=True)
    def stop() -> int:
        """Stop the run."""
        raise Cancelled

    assert run(workflow(out=Node.of(stop)), Executor(Registry.of(stop)))[0].status == "cancelled"


def test_the_context_shows_the_run() -> None:
    @node("Look", category="toys", output=True)
    def look(*, ctx: Context = QUIET) -> Any:
        """What the context says."""
        return {"id": ctx.node_id, "workflow": ctx.workflow, "extra": ctx.extra}

    drawn = workflow(here=Node("Look", {}, {"title": "Here"}))
    result, _ = run(drawn, Executor(Registry.of(look)), extra={"extra_pnginfo": {"workflow": 1}})
    assert value(result, "here") == {
        "id": "here",
        "workflow": drawn.to_json(),
        "extra": {"extra_pnginfo": {"workflow": 1}},
    }


def test_services_last_from_run_to_run() -> None:
    executor = Executor(REGISTRY)
    run(SUM, executor)
    run(SUM.with_input("one", "value", 2), executor)
    assert executor.services.get(Calls, Calls)["one"] == 2
    made = QUIET.service(Calls, Calls)
    assert made is not QUIET.service(Calls, Calls)


def test_a_workflow_with_faults_runs_nothing() -> None:
    executor = Executor(REGISTRY)
    with pytest.raises(WorkflowError):
        run(SUM.with_input("two", "b", "x"), executor)
    assert executor.services.get(Calls, Calls) == {}


def test_values_are_let_go_when_nobody_needs_them_any_more() -> None:
    import weakref

    class Big:
        """Something that can be watched."""

    alive: list[weakref.ref[Big]] = []
    most = 0

    @node("Make", category="toys")
    def make(*, after: Any = None) -> Any:
        """Make a large thing."""
        nonlocal most
        big = Big()
        alive.append(weakref.ref(big))
        most = max(most, sum(ref() is not None for ref in alive))
        return big

    drawn = Workflow(
        {
            "0": Node.of(make),
            **{str(i): Node.of(make, after=Link(str(i - 1))) for i in range(1, 50)},
        }
    )
    result, _ = run(drawn, Executor(Registry.of(make), cache=Cache(max_bytes=0)), targets=["49"])
    assert result.status == "success"
    assert most <= 3
