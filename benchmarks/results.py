"""What is measured, as plain values that go to JSON and come back: figures, demands on them, rows, the whole record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

GB = 1e9


@dataclass(frozen=True)
class Figure:
    """One measured figure: of which case, of whom, the median and the spread of so many runs.

    at: what a plot needs to know of the case, such as {"steps": 20}.
    """

    case: str
    subject: str
    value: float
    unit: str
    low: float
    high: float
    runs: int = 1
    at: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, case: str, subject: str, values: Sequence[float], unit: str, **at: float) -> Figure:
        """The figure of these measurements, one at least."""
        return cls(case, subject, median(values), unit, min(values), max(values), len(values), at)


@dataclass(frozen=True)
class Demand:
    """A figure that is to be reached, and the one that was measured; None: it could not be, and `why` says why.

    at_least: whether more is better. unit "times" is a ratio.
    """

    case: str
    what: str
    measured: float | None
    reach: float
    unit: str = "times"
    at_least: bool = True
    why: str = ""

    @property
    def verdict(self) -> str:
        """reached, MISSED or "not measured"."""
        if self.measured is None:
            return "not measured"
        good = self.measured >= self.reach if self.at_least else self.measured <= self.reach
        return "reached" if good else "MISSED"


@dataclass(frozen=True)
class Row:
    """One row of the benchmark: what it says, in figures and in words. seconds: how long it took to measure."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    demands: tuple[Demand, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Record:
    """All that is known: the machine, the versions of what was measured, how, and the rows."""

    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    def with_row(self, row: Row) -> Record:
        """This record with the row in place of an older one of its name, or at the end."""
        known = {old.name: old for old in self.rows}
        known[row.name] = row
        return replace(self, rows=tuple(known.values()))

    def row(self, name: str) -> Row | None:
        """The row of this name, if it was measured."""
        return next((row for row in self.rows if row.name == name), None)

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_text(json.dumps(asdict(self), indent=1) + "\n")
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> Record:
        """What `save` wrote. Raises ValueError for anything else."""
        try:
            content = json.loads(path.read_text())
            rows = tuple(_row(row) for row in content.pop("rows"))
            return cls(**content, rows=rows)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is not a record of benchmarks: {error!r}") from error


def _row(content: dict[str, Any]) -> Row:
    figures = tuple(Figure(**figure) for figure in content.pop("figures"))
    demands = tuple(Demand(**demand) for demand in content.pop("demands"))
    return Row(**{**content, "notes": tuple(content["notes"])}, figures=figures, demands=demands)


def ratio_demand(case: str, ours: Figure | None, theirs: Figure | None, reach: float, *, peer: str) -> Demand:
    """How many times faster than a peer we are to be."""
    measured = theirs.value / ours.value if ours and theirs else None
    why = "" if measured else f"{peer} did not run" if ours else "Weft did not run"
    return Demand(case, f"faster than {peer}", measured, reach, why=why)
