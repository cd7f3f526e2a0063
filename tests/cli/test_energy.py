"""What a run is said to take."""

import json
import re
from pathlib import Path

import pytest

from cli.arguments import parse
from cli.energy import WORLD_CARBON, Power
from cli.report import json_report
from graph import Folders, RunFinished
from tests.cli.test_command_line import TXT2IMG, weft


def test_power_times_time() -> None:
    power = Power(watts=100.0, carbon=500.0)
    assert power.energy(36.0) == pytest.approx(1.0)
    assert power.emitted(36.0) == pytest.approx(0.5)
    assert power.summary(36.0) == "about 1 Wh (100 W), 0.5 g CO2 (500 g/kWh)"


@pytest.mark.slow
def test_the_summary_says_it_when_a_power_is_stated(tmp_path: Path) -> None:
    few = ("--run", TXT2IMG, "--output-directory", tmp_path, "--set", "KSampler.steps=1")
    done = weft(*few, "--power", 65, "--carbon-intensity", 30)
    seconds, energy = re.search(
        r"([\d.]+) s in all\nabout (\S+) Wh \(65 W\), \S+ g CO2 \(30 g/kWh\)", done.stderr
    ).groups()  # type: ignore[union-attr]
    assert float(energy) == pytest.approx(65 * float(seconds) / 3600, rel=0.05)


def test_events_carry_it(capsys: pytest.CaptureFixture[str]) -> None:
    json_report(Folders(), Power(65))(RunFinished("success", 7.2))
    last = json.loads(capsys.readouterr().out)
    assert last["energy_wh"] == pytest.approx(65 * last["seconds"] / 3600)
    assert last["co2_g"] == pytest.approx(last["energy_wh"] / 1000 * WORLD_CARBON)


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "much"])
def test_a_power_is_a_number_above_0(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--run", "x.json", f"--power={text}"])
    assert "is no number above 0" in capsys.readouterr().err


def test_nothing_is_estimated_unasked() -> None:
    assert parse(["--run", "x.json"]).power is None
