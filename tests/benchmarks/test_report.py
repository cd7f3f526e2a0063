"""docs/performance.md, held to its format by a small record."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.plots import SCALING, lines
from benchmarks.report import TAIL, page, table
from benchmarks.results import Demand, Figure, Record, Row

RECORD = Path(__file__).parent / "record.json"
PAGE = Path(__file__).parent / "performance.md"


def test_the_page_made_of_the_record_is_as_it_was() -> None:
    assert page([Record.read(RECORD)]) == PAGE.read_text()


def test_the_command_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report", str(RECORD)]) == 0
    assert capsys.readouterr().out == PAGE.read_text()


def test_a_second_run_stands_beside_the_first() -> None:
    record = Record.read(RECORD)
    first, second = page([record, Record()]), page([record, record])
    assert "| run 1 | run 2 |" in first
    assert "| 1.29 times | - | reached |" in first
    assert "| 1.29 times | 1.29 times | reached |" in second


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    record = Record.read(RECORD)
    record.save(tmp_path / "again.json")
    assert Record.read(tmp_path / "again.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["again.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"rows": [{}]}', '{"rows": [], "surprise": 1}', "{}"])
def test_what_is_no_record_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "not-a-record.json"
    file.write_text(content)
    with pytest.raises(ValueError, match="not a record"):
        Record.read(file)
    with pytest.raises(SystemExit) as stopped:
        main(["--report", str(file)])
    assert stopped.value.code == 2
    assert str(file) in capsys.readouterr().err


def test_every_word_of_a_verdict() -> None:
    assert Demand("c", "w", 1.2, 1.1).verdict == "reached"
    assert Demand("c", "w", 1.0, 1.1).verdict == "MISSED"
    assert Demand("c", "w", 1.0, 1.1, at_least=False).verdict == "reached"
    assert Demand("c", "w", 1.2, 1.1, at_least=False).verdict == "MISSED"
    assert Demand("c", "w", None, 1.1, why="it did not run").verdict == "not measured"


def test_a_miss_is_said_in_the_table_and_on_the_page() -> None:
    row = Row(
        "start", "Start", demands=(Demand("shell to PNG", "wall clock", 6.0, 5.0, "s", at_least=False),)
    )
    assert "MISSED" in table(row)
    assert "**MISSED**" in page([Record(rows=(row,))])


def test_a_row_measured_again_replaces_the_older_one() -> None:
    record = Record(rows=(Row("a", "old"), Row("b", "kept"))).with_row(Row("a", "new"))
    assert [(row.name, row.title) for row in record.rows] == [("a", "new"), ("b", "kept")]


def test_a_figure_is_the_median_with_its_spread() -> None:
    figure = Figure.of("case", "weft", [3.0, 1.0, 2.0], "s", steps=20)
    assert (figure.value, figure.low, figure.high, figure.runs, figure.at) == (
        2.0,
        1.0,
        3.0,
        3,
        {"steps": 20},
    )


def test_a_plot_has_a_line_for_each_subject_in_order() -> None:
    row = Record.read(RECORD).row(SCALING.row)
    assert row is not None
    assert lines("steps", row.figures) == {
        "weft bf16": [(1.0, 2.0), (4.0, 5.0)],
        "openvino bf16": [(4.0, 6.5)],
    }
    assert lines("batch", row.figures) == {}


def test_the_plot_is_shown_under_its_row() -> None:
    assert f"](images/{SCALING.file})" in PAGE.read_text()
    assert TAIL in PAGE.read_text()
