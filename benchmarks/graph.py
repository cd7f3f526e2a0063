"""Figures of the graph: `python -m benchmarks.graph`, with `--json` for programs.

Times are of everything a user waits for, from the workflow's JSON text to the result, and the best of some repetitions.
How they grow is measured in processor time, which other work on the machine distorts less.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from graph import Cache, Executor, Expansion, Link, Node, Registry, RunResult, Shown, Workflow, node

Clock = Callable[[], float]

NODES = 10_000
ITERATIONS = 1_000
STATE_BYTES = 1 << 20


@node("BenchmarkStart", category="benchmark")
def start(*, value: int = 0) -> int:
    """A whole number."""
    return value


@node("BenchmarkNext", category="benchmark")
def following(*, value: int, step: int = 1) -> int:
    """A number and one more."""
    return value + step


@node("BenchmarkJoin", category="benchmark")
def join(*, left: int, right: int) -> int:
    """Two numbers as one."""
    return (left + right) % 1_000_003


@node("BenchmarkEnd", category="benchmark", output=True)
def end(*, value: int) -> Shown[int]:
    """Show a number."""
    return Shown(value, {"value": [value]})


@node("BenchmarkState", category="benchmark")
def state(*, size: int) -> bytes:
    """So many bytes."""
    return bytes(size)


@node("BenchmarkBody", category="benchmark")
def body(*, value: bytes) -> bytes:
    """Other bytes, as many as there were."""
    return bytes(len(value))


@node("BenchmarkLoop", category="benchmark")
def loop(*, value: bytes, count: int) -> bytes | Expansion[bytes]:
    """Run the body `count` times, each time as a sub-graph that ends in the rest of the loop."""
    if count == 0:
        return value
    again = Node.of(loop, value=Link("body"), count=count - 1)
    return Expansion({"body": Node.of(body, value=value), "again": again}, outputs=Link("again"))


@node("BenchmarkSize", category="benchmark", output=True)
def size(*, value: bytes) -> Shown[int]:
    """Show how many bytes there are."""
    return Shown(len(value), {"size": [len(value)]})


REGISTRY = Registry.of(start, following, join, end, state, body, loop, size)


@dataclass(frozen=True)
class Figure:
    """One measured figure, the one to reach and the one to aim at; less is better for all."""

    name: str
    measured: float
    reach: float
    unit: str
    aim: float | None = None

    @property
    def reached(self) -> bool:
        return self.measured <= self.reach


def chain(nodes: int) -> str:
    """The JSON text of a chain: each node fed by the one before it."""
    return _workflow({"0": ("BenchmarkStart", {"value": 0})}, nodes, "BenchmarkNext", ["value"])


def diamonds(nodes: int) -> str:
    """The JSON text of nodes whose two inputs are both linked to the node before."""
    return _workflow({"0": ("BenchmarkStart", {"value": 1})}, nodes, "BenchmarkJoin", ["left", "right"])


def _workflow(
    first: dict[str, tuple[str, dict[str, Any]]], nodes: int, class_type: str, inputs: list[str]
) -> str:
    drawn = dict(first)
    for index in range(1, nodes):
        drawn[str(index)] = (class_type, {name: [str(index - 1), 0] for name in inputs})
    drawn["end"] = ("BenchmarkEnd", {"value": [str(nodes - 1), 0]})
    return json.dumps(
        {
            key: {"class_type": kind, "inputs": given, "_meta": {"title": kind}}
            for key, (kind, given) in drawn.items()
        }
    )


def run(text: str, executor: Executor) -> RunResult:
    """What a user waits for, with somebody listening to the events."""
    heard = 0

    def listen(event: object) -> None:
        nonlocal heard
        heard += 1

    result = executor.run(Workflow.from_json(text), on_event=listen)
    assert result.status == "success", result.errors
    assert heard > 0
    return result


def seconds(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    gc.collect()
    began = clock()
    work()
    return clock() - began


def fresh_and_cached(text: str, repetitions: int, clock: Clock = time.perf_counter) -> tuple[float, float]:
    """The best times of a first run and of one that finds everything in the cache."""
    fresh: list[float] = []
    cached: list[float] = []
    for _ in range(repetitions):
        executor = Executor(REGISTRY)
        fresh.append(seconds(partial(run, text, executor), clock))
        cached.append(seconds(partial(run, text, executor), clock))
    return min(fresh), min(cached)


def bytes_per_cached_node(nodes: int) -> float:
    """What stays in memory of a chain's run when all but the cache is gone."""
    text = chain(nodes)
    run(text, Executor(REGISTRY))
    tracemalloc.start()
    executor = Executor(REGISTRY)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    run(text, executor)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(executor.cache) > nodes
    return (after - before) / nodes


def loop_figures(iterations: int) -> tuple[float, float]:
    """Seconds of a loop, and the MiB it needs at its peak when each round's state is one MiB and none is cached."""
    drawn = Workflow(
        {
            "state": Node.of(state, size=STATE_BYTES),
            "loop": Node.of(loop, value=Link("state"), count=iterations),
            "size": Node.of(size, value=Link("loop")),
        }
    )
    text = json.dumps(drawn.to_json())
    elapsed = seconds(lambda: run(text, Executor(REGISTRY)))
    tracemalloc.start()
    run(text, Executor(REGISTRY, cache=Cache(max_bytes=STATE_BYTES // 2)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return elapsed, peak / (1 << 20)


def figures(repetitions: int) -> list[Figure]:
    """Measure everything."""
    run(chain(100), Executor(REGISTRY))
    fresh, cached = fresh_and_cached(chain(NODES), repetitions)
    large, _ = fresh_and_cached(chain(NODES), repetitions, time.process_time)
    small, _ = fresh_and_cached(chain(NODES // 10), 3 * repetitions, time.process_time)
    diamond_fresh, diamond_cached = fresh_and_cached(diamonds(1_000), 3 * repetitions)
    loop_seconds, loop_peak = loop_figures(ITERATIONS)
    return [
        Figure("chain of 10,000 nodes, fresh", fresh, 1.0, "s", 0.25),
        Figure("chain of 10,000 nodes, all cached", cached, 0.3, "s", 0.1),
        Figure("1,000 diamonds, fresh, per node", diamond_fresh * 1e3, 100, "us", 25),
        Figure("1,000 diamonds, all cached, per node", diamond_cached * 1e3, 30, "us", 10),
        Figure("10,000 nodes against 1,000, fresh", large / small, 12, "times"),
        Figure("memory per cached trivial node", bytes_per_cached_node(NODES), 2048, "bytes"),
        Figure("loop of 1,000 rounds as sub-graphs", loop_seconds, 1.0, "s"),
        Figure("its peak memory, 1 MiB of state a round", loop_peak, 16, "MiB"),
    ]


def main(arguments: list[str]) -> int:
    """Print the figures. Returns 1 if one is not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graph", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="best of N (default 5)")
    options = parser.parse_args(arguments)
    measured = figures(options.repetitions)
    if options.json:
        print(json.dumps([asdict(figure) | {"reached": figure.reached} for figure in measured], indent=2))
    else:
        print(f"{'figure':<40} {'measured':>10} {'to reach':>10} {'aim':>8}  unit")
        for figure in measured:
            aim = f"{figure.aim:g}" if figure.aim is not None else ""
            mark = "" if figure.reached else "  NOT REACHED"
            print(
                f"{figure.name:<40} {figure.measured:>10.3g} {figure.reach:>10g} {aim:>8}  {figure.unit}{mark}"
            )
    return 0 if all(figure.reached for figure in measured) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
