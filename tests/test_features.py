"""docs/features.md names nodes, workflows and tests that exist."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodes import REGISTRY

ROOT = Path(__file__).parents[1]
NOTHING, MISSING = "-", "*not reached*"


@dataclass(frozen=True)
class Row:
    feature: str
    nodes: tuple[str, ...]
    workflow: str
    tests: tuple[str, ...]


def _rows() -> list[Row]:
    found = []
    for line in (ROOT / "docs" / "features.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[0] != "feature" and not line.startswith("|---"):
            feature, nodes, workflow, tests = cells
            found.append(
                Row(feature, tuple(re.findall(r"`(\w+)`", nodes)), workflow, tuple(tests.split(", ")))
            )
    return found


ROWS = _rows()


def test_the_page_has_its_rows() -> None:
    assert len(ROWS) > 60
    assert len({row.feature for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.feature[:40])
def test_what_a_row_names_exists(row: Row) -> None:
    if row.tests == (MISSING,):
        return
    assert [name for name in row.nodes if name not in REGISTRY] == []
    for name in row.tests:
        assert (ROOT / "tests" / name).exists(), name
    if row.workflow != NOTHING:
        workflow = json.loads((ROOT / "workflows" / row.workflow).read_text())
        assert any(node["class_type"] in row.nodes for node in workflow.values()), row.workflow
