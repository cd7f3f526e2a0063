"""The graph on its own: what nodes, cache and loops cost without any network."""

from __future__ import annotations

from benchmarks import graph
from benchmarks.options import Options
from benchmarks.results import Demand, Figure, Row


def measure(options: Options) -> Row:
    """Every figure of `python -m benchmarks.graph`."""
    found = graph.figures(1 if options.quick else 5)
    return Row(
        "graph",
        "The graph on its own",
        tuple(Figure.of(one.name, "weft", [one.measured], one.unit) for one in found),
        tuple(Demand(one.name, "measured", one.measured, one.reach, one.unit, False) for one in found),
    )
