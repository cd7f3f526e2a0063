"""The benchmark's workflows do what their figures are about; the figures themselves are no test."""

from __future__ import annotations

import json

import pytest

from benchmarks.graph import REGISTRY, chain, diamonds, figures, fresh_and_cached, loop_figures, main, run
from graph import Executor


def test_its_workflows_run() -> None:
    assert run(chain(50), Executor(REGISTRY)).values == {"end": (49,)}
    assert run(diamonds(11), Executor(REGISTRY)).values == {"end": (1024,)}
    fresh, cached = fresh_and_cached(chain(20), 1)
    assert fresh > 0
    assert cached > 0
    seconds, mebibytes = loop_figures(20)
    assert seconds > 0
    assert mebibytes < 16


@pytest.mark.slow
def test_it_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--json", "--repetitions", "1"])
    printed = json.loads(capsys.readouterr().out)
    assert {"name", "measured", "reach", "aim", "unit", "reached"} == set(printed[0])
    by_name = {figure["name"]: figure["measured"] for figure in printed}
    assert by_name["memory per cached trivial node"] < 2048
    assert len(printed) == len(set(by_name)) == 8
    assert callable(figures)
