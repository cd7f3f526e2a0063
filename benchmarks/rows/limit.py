"""Small machines: `--memory-limit 2GB` against no limit, by the command line as a person runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.compare import picture_psnr
from benchmarks.contestants import Field
from benchmarks.interleave import say
from benchmarks.options import Options
from benchmarks.processes import Ran, run_process
from benchmarks.results import GB, Demand, Figure, Row
from benchmarks.tasks import Picture
from benchmarks.worker import ROOT, SubjectFailed
from benchmarks.workflows import Drawn, text_to_image, together

NAME = "limit"
TITLE = "Within 2 GB of private memory"
OPTION = ("--memory-limit", "2GB")
LIMIT_GB = 2.0
REACH_TIME = 1.6
REACH_LIKENESS = 40.0
"""Decibels at which two pictures are the same to the eye; slices and tiles may round differently."""
NOT_THERE = "not there yet: main.py has no --memory-limit"


def measure(options: Options) -> Row:
    """Whole runs, from the shell to the PNG. They read the checkpoint's own file."""
    if not option_exists(options.python):
        return Row(NAME, TITLE, demands=_demands(None, None, None, None, NOT_THERE), notes=(NOT_THERE,))
    field = Field.of(options, options.full_size())
    size, name = max(options.sizes), field.materials.checkpoint.name
    picture = Picture(size, 2 if options.quick else 8)
    single = text_to_image(picture, name)
    second = text_to_image(picture.numbered(1), field.materials.in_precision("bf16"))
    turns = together(single, second, text_to_image(picture.numbered(2), name))
    say(f"{picture.steps} steps without a limit, then within 2 GB, then two checkpoints in turn")
    free, file = _run(field, single, "unlimited")
    bound, bound_file = _run(field, single, "limited", *OPTION)
    both, _ = _run(field, turns, "in turn", *OPTION)
    likeness = picture_psnr(file, bound_file) if file and bound_file else None
    case = f"{size}x{size}, {picture.steps} steps, shell to PNG"
    runs = {"no limit": free, "2 GB": bound, "2 GB, two checkpoints in turn": both}
    figures = [
        Figure.of(f"{case}: {what}", subject, [value], unit)
        for subject, ran in runs.items()
        if ran
        for what, value, unit in _costs(ran)
    ]
    return Row(NAME, TITLE, tuple(figures), _demands(free, bound, both, likeness, "the run failed"))


def option_exists(python: Path) -> bool:
    """Whether main.py knows --memory-limit."""
    shown = subprocess.run([python, ROOT / "main.py", "--help"], capture_output=True, text=True, check=False)
    return OPTION[0] in shown.stdout


def _run(field: Field, workflow: Drawn, name: str, *more: str) -> tuple[Ran | None, Path | None]:
    folder = field.options.output / "limit" / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "workflow.json"
    file.write_text(json.dumps(workflow))
    command = [field.options.python, ROOT / "main.py", "--run", file, "--models", field.materials.models]
    options = ["--output-directory", folder, "--device", "cpu", "--quiet", *more]
    try:
        ran = run_process([*command, *options])
    except SubjectFailed as error:
        say(f"{name} failed: {error}")
        return None, None
    return ran, max(folder.glob("*.png"), default=None)


def _costs(ran: Ran) -> list[tuple[str, float, str]]:
    peaks = [(f"peak, {kind}", value / GB, "GB") for kind, value in ran.memory.items()]
    return [("seconds", ran.seconds, "s"), *peaks]


def _demands(
    free: Ran | None, bound: Ran | None, both: Ran | None, likeness: float | None, why: str
) -> tuple[Demand, ...]:
    def private(ran: Ran | None) -> float | None:
        return ran.memory["private"] / GB if ran and "private" in ran.memory else None

    ratio = bound.seconds / free.seconds if bound and free else None
    return (
        Demand("2 GB", "peak private", private(bound), LIMIT_GB, "GB", at_least=False, why=why),
        Demand("2 GB", "time against no limit", ratio, REACH_TIME, at_least=False, why=why),
        Demand("2 GB", "likeness to the picture without a limit", likeness, REACH_LIKENESS, "dB", why=why),
        Demand("2 GB, two checkpoints in turn", "peak private", private(both), LIMIT_GB, "GB", False, why),
    )
