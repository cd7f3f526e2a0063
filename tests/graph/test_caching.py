"""What a content key depends on, as seen by what runs again."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import pytest

from graph import (
    Cache,
    Executor,
    File,
    Folders,
    Link,
    Node,
    Registry,
    Shown,
    Workflow,
    node,
)
from tests.graph.toys import folders_in, number, run, show, value, workflow


def modified(name: str, folders: Folders) -> float:
    return folders.find("things", name).stat().st_mtime_ns


def reader(folders: Folders, **options: Any) -> Any:
    @node("Read", category="toys", **options)
    def read_file(*, name: Annotated[str, File("things")]) -> str:
        """Read a file."""
        return folders.find("things", name).read_text()

    return read_file


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "models" / "things").mkdir(parents=True)
    (tmp_path / "models" / "things" / "a").write_text("one")
    return folders_in(tmp_path)


SHOWN = Workflow({"r": Node("Read", {"name": "a"}), "out": Node("Show", {"value": Link("r")})})


def change(folders: Folders) -> None:
    path = folders.find("things", "a")
    stat = path.stat()
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


def test_a_fingerprint_sees_what_the_inputs_do_not_show(folders: Folders) -> None:
    executor = Executor(Registry.of(reader(folders, fingerprint=modified), show), folders=folders)
    assert value(run(SHOWN, executor)[0]) == "one"
    assert run(SHOWN, executor)[0].timings == {}
    change(folders)
    assert value(run(SHOWN, executor)[0]) == "two"


def test_without_a_fingerprint_the_same_inputs_are_the_same_result(folders: Folders) -> None:
    executor = Executor(Registry.of(reader(folders), show), folders=folders)
    run(SHOWN, executor)
    change(folders)
    assert value(run(SHOWN, executor)[0]) == "one"


def raising(name: str) -> float:
    raise OSError("not now")


@pytest.mark.parametrize("fingerprint", [lambda: math.nan, lambda **inputs: object(), raising])
def test_a_fingerprint_that_cannot_say_runs_every_time(folders: Folders, fingerprint: Any) -> None:
    executor = Executor(Registry.of(reader(folders, fingerprint=fingerprint), show), folders=folders)
    for _ in range(2):
        assert set(run(SHOWN, executor)[0].timings) == {"r", "out"}


def test_a_fingerprint_of_a_linked_input_runs_every_time(folders: Folders) -> None:
    @node("Name", category="toys")
    def name() -> str:
        """The name of a file."""
        return "a"

    executor = Executor(Registry.of(reader(folders, fingerprint=modified), name, show), folders=folders)
    drawn = SHOWN.with_input("r", "name", Link("n"))
    drawn = Workflow({**drawn.nodes, "n": Node.of(name)})
    for _ in range(2):
        result, _ = run(drawn, executor)
        assert value(result) == "one"
        assert "r" in result.timings


def test_a_fingerprint_does_without_a_linked_input_that_it_has_a_default_for(folders: Folders) -> None:
    @node("Name", category="toys")
    def name() -> str:
        """The name of a file."""
        return "a"

    def any_modified(*, name: str = "a", folders: Folders) -> float:
        return modified(name, folders)

    executor = Executor(Registry.of(reader(folders, fingerprint=any_modified), name, show), folders=folders)
    drawn = Workflow({**SHOWN.with_input("r", "name", Link("n")).nodes, "n": Node.of(name)})
    assert value(run(drawn, executor)[0]) == "one"
    assert run(drawn, executor)[0].timings == {}
    change(folders)
    assert value(run(drawn, executor)[0]) == "two"


def test_a_fingerprint_may_ask_the_context(folders: Folders) -> None:
    def by_workflow(name: str, ctx: Any) -> list[str]:
        return [name, *ctx.workflow, str(ctx.folders.input)]

    executor = Executor(Registry.of(reader(folders, fingerprint=by_workflow), show), folders=folders)
    run(SHOWN, executor)
    assert run(SHOWN, executor)[0].timings == {}


def test_a_new_version_is_a_new_result() -> None:
    def of_version(version: int) -> Registry:
        @node("Versioned", category="toys", version=version)
        def versioned() -> int:
            """Its version."""
            return version

        return Registry.of(versioned, show)

    cache = Cache()
    drawn = workflow(v=Node("Versioned"), out=Node.of(show, value=Link("v")))
    results = [value(run(drawn, Executor(of_version(v), cache=cache))[0]) for v in (1, 2, 1)]
    assert results == [1, 2, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (0, None),
        ({"a": 1}, {"a": "1"}),
        ("x", ["x"]),
        ({"__value__": [1]}, {"__value__": ["1"]}),
    ],
)
def test_values_that_differ_have_keys_that_differ(one: Any, other: Any) -> None:
    @node("Keep", category="toys", output=True)
    def keep(*, value: Any = 0) -> Shown[Any]:
        """Keep."""
        return Shown(value)

    executor = Executor(Registry.of(keep))
    if isinstance(other, list):
        other = {"__value__": other}
    drawn = workflow(out=Node.of(keep, value=one))
    run(drawn, executor)
    result, _ = run(drawn.with_input("out", "value", other), executor)
    assert ("out" in result.timings) == (other is not None)


def test_the_order_of_keys_in_a_value_does_not_matter() -> None:
    executor = Executor(Registry.of(show))
    run(workflow(out=Node.of(show, value={"a": 1, "b": 2})), executor)
    assert run(workflow(out=Node.of(show, value={"b": 2, "a": 1})), executor)[0].timings == {}


def test_a_small_cache_changes_speed_and_nothing_else() -> None:
    drawn = workflow(n=Node.of(number, value=3), out=Node.of(show, value=Link("n")))
    executor = Executor(Registry.of(number, show), cache=Cache(max_bytes=0))
    for _ in range(2):
        result, _ = run(drawn, executor)
        assert value(result) == 3
        assert set(result.timings) == {"n", "out"}


def test_a_failure_is_not_cached() -> None:
    tries = 0

    @node("Flaky", category="toys", output=True)
    def flaky() -> int:
        """Fail the first time."""
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("at first")
        return tries

    executor = Executor(Registry.of(flaky))
    assert run(workflow(out=Node.of(flaky)), executor)[0].status == "failed"
    assert value(run(workflow(out=Node.of(flaky)), executor)[0]) == 2
