"""The rows of the benchmark, in the order in which they are measured and shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from benchmarks.options import Options
from benchmarks.results import Row
from benchmarks.rows import (
    accuracy,
    approximations,
    attention,
    graph,
    limit,
    memory,
    sampling,
    scaling,
    start,
    step,
    switching,
)

Measure = Callable[[Options], Row]

ROWS: Mapping[str, Measure] = MappingProxyType(
    {
        "sampling": sampling.measure,
        "step": step.measure,
        "memory": memory.measure,
        "limit": limit.measure,
        "start": start.measure,
        "switching": switching.measure,
        "accuracy": accuracy.measure,
        "scaling": scaling.measure,
        "approximations": approximations.measure,
        "attention": attention.measure,
        "graph": graph.measure,
    }
)


def measure_row(name: str, options: Options) -> Row:
    """One row, with the seconds that it took."""
    began = time.perf_counter()
    row = ROWS[name](options)
    return replace(row, seconds=time.perf_counter() - began)
