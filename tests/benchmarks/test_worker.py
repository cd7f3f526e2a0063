"""Subjects in processes of their own, and how they are taken in turn."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.interleave import interleaved, pictures
from benchmarks.memory import PeakMemory, read_status
from benchmarks.processes import import_seconds, run_process
from benchmarks.tasks import Picture
from benchmarks.worker import SubjectFailed, Worker

PYTHON = Path(sys.executable)
TOY = "tests.benchmarks.toys"
MIB = 1 << 20


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(PYTHON, TOY, {"name": "toy"}) as started:
        yield started


def test_a_subject_keeps_its_state_and_is_told_what_to_do(worker: Worker) -> None:
    answer = worker.ask("picture", size=64)
    assert answer.result == {"files": [], "step_seconds": [0.5], "name": "toy", "task": {"size": 64}}
    assert answer.seconds > 0
    assert answer.processor_seconds >= 0


def test_what_a_subject_can_not_do_is_an_error_and_it_goes_on(worker: Worker) -> None:
    with pytest.raises(SubjectFailed, match="RuntimeError: as it was told to"):
        worker.ask("fail")
    with pytest.raises(SubjectFailed, match="no_such_thing"):
        worker.ask("no_such_thing")
    assert worker.ask("picture").result["name"] == "toy"


def test_the_peak_of_memory_is_seen_and_forgotten(worker: Worker) -> None:
    before = worker.ask("reset_memory").memory
    after = worker.ask("fill", size=300 * MIB).memory
    assert after["resident"] > before["resident"] + 250 * MIB
    worker.ask("reset_memory")
    assert worker.ask("picture").memory["resident"] < after["resident"] - 200 * MIB


def test_a_subject_that_can_not_be_made_says_why() -> None:
    with pytest.raises(SubjectFailed, match="a toy needs a name"):
        Worker(PYTHON, TOY, {"name": ""})
    with pytest.raises(SubjectFailed, match="no_such_module"):
        Worker(PYTHON, "tests.benchmarks.no_such_module", {})


def test_a_process_that_ends_is_an_error() -> None:
    with (
        Worker(PYTHON, TOY, {"name": "toy"}) as started,
        pytest.raises(SubjectFailed, match="the process ended"),
    ):
        started.ask("die")


def test_pictures_differ_from_round_to_round_and_the_warm_up_is_short(worker: Worker) -> None:
    answers = pictures({"toy": worker}, Picture(64, 20, seed=7), 2)
    tasks = [answer.result["task"] for answer in answers["toy"]]
    assert [task["seed"] for task in tasks] == [8, 9]
    assert [task["steps"] for task in tasks] == [20, 20]
    assert len({task["prompt"] for task in tasks}) == 2


def test_runs_are_taken_in_turn_and_the_first_round_is_not_kept() -> None:
    order: list[str] = []

    def run(name: str, number: int) -> int:
        order.append(f"{name}{number}")
        return number

    results = interleaved({"a": lambda n: run("a", n), "b": lambda n: run("b", n)}, 2)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert results == {"a": [1, 2], "b": [1, 2]}


def test_one_that_fails_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(number: int) -> int:
        raise SubjectFailed("no more")

    assert interleaved({"good": lambda n: n, "bad": broken}, 2) == {"good": [1, 2]}
    assert capsys.readouterr().err == "  bad failed: no more\n"


def test_memory_of_a_process_that_is_not_there() -> None:
    assert read_status(2**22 + 1) == {}
    with PeakMemory(2**22 + 1) as memory:
        memory.reset()
        assert memory.peaks() == {}


def test_a_whole_process_is_measured() -> None:
    ran = run_process([PYTHON, "-c", "x = b'y' * 200_000_000; sum(range(3_000_000))"])
    assert ran.seconds > 0
    assert ran.processor_seconds > 0
    with pytest.raises(SubjectFailed, match="the last word"):
        run_process([PYTHON, "-c", "import sys; sys.exit('the last word')"])


def test_imports_are_added_up_by_package() -> None:
    errors = run_process([PYTHON, "-X", "importtime", "-c", "import json.decoder"]).errors
    total, packages = import_seconds(errors)
    assert "json" in dict(packages)
    assert total == pytest.approx(sum(seconds for _, seconds in packages))
    made_up = "import time:       200 |        500 |   one.two\nimport time:       300 |  800 | one\nnoise\n"
    assert import_seconds(made_up) == (pytest.approx(5e-4), [("one", pytest.approx(5e-4))])
