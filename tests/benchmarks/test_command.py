"""`python -m benchmarks`, from its arguments to the record that it writes."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.contestants import Field, installed
from benchmarks.options import Options
from benchmarks.report import page
from benchmarks.results import Record
from benchmarks.rows import ROWS

TINY = Path(__file__).parents[2] / "models" / "checkpoints" / "weft-tiny.safetensors"
SMALL = ["--quick", "--steps", "1", "--size", "64", "--checkpoint", str(TINY)]


def test_the_rows_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(ROWS)
    assert all(len(line.split()) > 3 for line in listed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cooking"], "no row is called 'cooking'"),
        (["--size", "100"], "100 is not a multiple of 64"),
        (["--steps", "0"], "0 is not a whole number from 1 up"),
        (["--rounds", "many"], "many is not a whole number from 1 up"),
        (["--size", "64.5"], "64.5 is not a multiple of 64"),
        (["--peers-python", "missing/python"], "there is no file 'missing/python'"),
        (["--json", "missing/record.json"], "--json: there is no folder"),
        (["--json", __file__], "is not a record of benchmarks"),
        (["--subject", "somebody"], "invalid choice"),
        (["--checkpoint", "missing.safetensors"], "there is no file 'missing.safetensors'"),
        (["--report", "missing.json"], "missing.json"),
    ],
)
def test_wrong_arguments_exit_with_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_who_takes_part(tmp_path: Path) -> None:
    def names(**options: object) -> list[str]:
        field = Field.of(Options(cache=tmp_path, **options), TINY)  # type: ignore[arg-type]
        return list(field.choose(["weft bf16", "diffusers bf16", "server"]))

    assert names() == ["weft bf16", "diffusers bf16"]
    assert names(subjects=("weft", "server")) == ["weft bf16"]
    assert names(peer_url="http://127.0.0.1:1", subjects=("server",)) == ["server"]
    assert installed(Options().python, "no-such-package") is None


@pytest.mark.slow
def test_the_tiny_subjects_run_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "record.json"
    options = ["--cache", str(tmp_path), "--json", str(file), "--subject", "weft", "--subject", "diffusers"]
    main(["sampling", "switching", *SMALL, *options])
    record = Record.read(file)
    assert [row.name for row in record.rows] == ["sampling", "switching"]
    for row in record.rows:
        assert row.seconds > 0
        assert row.title in capsys.readouterr().out or row.title in page([record])
        assert row.demands
        assert all(math.isfinite(figure.value) and figure.low <= figure.high for figure in row.figures)
    sampling, switching = record.rows
    assert {figure.subject for figure in sampling.figures} == {"weft bf16", "diffusers bf16", "weft fp32"}
    assert all(figure.value > 0 for figure in sampling.figures)
    assert [demand.measured for demand in switching.demands if demand.what == "nodes run"] == [3, 4]
    assert json.loads(file.read_text())["machine"]["matrix product, fp32, GFLOP/s"] > 0
    assert record.versions["torch"]
