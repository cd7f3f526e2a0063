"""Subjects taken in turn, A B C A B C, so that a slow minute of the machine falls on all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import TypeVar

from benchmarks.contestants import Contestant
from benchmarks.results import Figure
from benchmarks.tasks import Picture
from benchmarks.worker import Answer, SubjectFailed, Worker

T = TypeVar("T")
WARM_UP_STEPS = 2


def interleaved(
    runs: Mapping[str, Callable[[int], T]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Every run's results, `rounds` of them. Each is told the number of its round; round 0 warms up and is not kept.

    One that raises SubjectFailed is said to have failed on standard error, and runs no more.
    """
    results: dict[str, list[T]] = {name: [] for name in runs}
    failed: set[str] = set()
    for number in range(0 if warm_up else 1, rounds + 1):
        for name, run in runs.items():
            if name in failed:
                continue
            try:
                result = run(number)
            except SubjectFailed as error:
                say(f"{name} failed: {error}")
                failed.add(name)
                continue
            if number:
                results[name].append(result)
    return {name: kept for name, kept in results.items() if kept and name not in failed}


@contextmanager
def working(contestants: Mapping[str, Contestant]) -> Iterator[dict[str, Worker]]:
    """A worker for each contestant that can be started, all ended at the end."""
    with ExitStack() as stack:
        workers = {}
        for name, contestant in contestants.items():
            say(f"starting {name}")
            try:
                workers[name] = stack.enter_context(contestant.start())
            except SubjectFailed as error:
                say(f"{name} can't run: {error}")
        yield workers


def pictures(
    workers: Mapping[str, Worker], picture: Picture, rounds: int, *, warm_up: bool = True
) -> dict[str, list[Answer]]:
    """The same picture by all of them in turn; its prompt and seed change from round to round.

    The warm-up takes a step or two: enough to compile whatever is compiled for this size.
    """
    short = replace(picture, steps=min(picture.steps, WARM_UP_STEPS))

    def run(worker: Worker, number: int) -> Answer:
        asked = picture if number else short
        answer = worker.ask("picture", **asdict(asked.numbered(number)))
        if "sampler" not in answer.result.get("nodes_run", ["sampler"]):
            raise SubjectFailed("the picture came from a cache: nothing was measured")
        return answer

    say(f"{picture.size}x{picture.size}, {picture.steps} steps, batch {picture.batch}")
    runs = {name: partial(run, worker) for name, worker in workers.items()}
    return interleaved(runs, rounds, warm_up=warm_up)


def wall_figures(case: str, answers: Mapping[str, list[Answer]], **at: float) -> tuple[Figure, ...]:
    """Seconds of each subject's runs."""
    return tuple(
        Figure.of(case, name, [answer.seconds for answer in runs], "s", **at)
        for name, runs in answers.items()
    )


def find(figures: tuple[Figure, ...], subject: str, case: str | None = None) -> Figure | None:
    """The figure of this subject, if it is there."""
    return next((f for f in figures if f.subject == subject and case in (None, f.case)), None)


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(f"  {text}", file=sys.stderr, flush=True)
