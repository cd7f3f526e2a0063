"""From a cold shell to the PNG of the tiny checkpoint, beside diffusers' own script for the same picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.compare import picture_psnr
from benchmarks.contestants import Field
from benchmarks.interleave import interleaved, say
from benchmarks.options import Options
from benchmarks.processes import Ran, import_seconds, run_process
from benchmarks.results import Demand, Figure, Row
from benchmarks.tasks import Picture
from benchmarks.worker import ROOT
from benchmarks.workflows import text_to_image

NAME = "start"
CASE = "tiny checkpoint, 128x128, 20 steps, shell to PNG"
PICTURE = Picture(128, 20, cfg=5.0, prompt="a large yellow star on a blue background")
REACH_RATIO = 0.5
REACH_SECONDS = 5.0
SHOWN_PACKAGES = 6


def measure(options: Options) -> Row:
    """Each run is a new process; files are in the system's cache, as they are for who starts a second time."""
    field = Field.of(options, options.tiny)
    commands = {"weft": _weft(field)}
    if field.choose(["diffusers bf16"]):
        commands["diffusers"] = _diffusers(field)
    say("cold starts")
    runs = interleaved(
        {name: partial(_run, command) for name, command in commands.items()},
        1 if options.quick else max(options.rounds, 5),
    )
    figures, notes = _figures(runs), list[str]()
    for name in runs:
        python, *rest = commands[name]
        seconds, packages = import_seconds(run_process([python, "-X", "importtime", *rest]).errors)
        figures.append(Figure.of(f"{CASE}: imports", name, [seconds], "s"))
        shown = ", ".join(f"{package} {spent:.2f} s" for package, spent in packages[:SHOWN_PACKAGES])
        notes.append(f"Imports of {name} (python -X importtime, the packages' own modules): {shown}.")
    if "diffusers" in runs:
        likeness = picture_psnr(_newest(field), _peer_picture(field))
        figures.append(Figure.of(f"{CASE}: likeness to Weft's picture", "diffusers", [likeness], "dB"))
    return Row(NAME, "Start", tuple(figures), _demands(runs), tuple(notes))


def _run(command: Sequence[object], number: int) -> Ran:
    return run_process(command)


def _weft(field: Field) -> Sequence[object]:
    folder = _folder(field)
    file = folder / "workflow.json"
    file.write_text(json.dumps(text_to_image(PICTURE, field.materials.checkpoint.name)))
    options = ["--models", field.materials.models, "--output-directory", folder, "--quiet"]
    return [field.options.python, ROOT / "main.py", "--run", file, "--device", "cpu", *options]


def _diffusers(field: Field) -> Sequence[object]:
    folder = field.materials.diffusers_folder(field.options.peers_python)
    script = ROOT / "benchmarks" / "subjects" / "diffusers_script.py"
    return [
        field.options.peers_python,
        "-P",
        script,
        folder,
        _peer_picture(field),
        json.dumps(asdict(PICTURE)),
    ]


def _folder(field: Field) -> Path:
    folder = field.options.output / "start"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _peer_picture(field: Field) -> Path:
    return _folder(field) / "diffusers.png"


def _newest(field: Field) -> Path:
    return max(_folder(field).glob("benchmark_*.png"))


def _figures(runs: dict[str, list[Ran]]) -> list[Figure]:
    wall = [
        Figure.of(f"{CASE}: wall clock", name, [ran.seconds for ran in rans], "s")
        for name, rans in runs.items()
    ]
    processor = [
        Figure.of(f"{CASE}: processor time", name, [ran.processor_seconds for ran in rans], "s")
        for name, rans in runs.items()
    ]
    return [*wall, *processor]


def _demands(runs: dict[str, list[Ran]]) -> tuple[Demand, ...]:
    seconds = {
        name: Figure.of("", name, [ran.seconds for ran in rans], "s").value for name, rans in runs.items()
    }
    ours, peer = seconds.get("weft"), seconds.get("diffusers")
    ratio = ours / peer if ours and peer else None
    why = "" if ratio else "diffusers did not run"
    return (
        Demand(CASE, "wall clock", ours, REACH_SECONDS, "s", at_least=False),
        Demand(CASE, "wall clock against diffusers", ratio, REACH_RATIO, at_least=False, why=why),
    )
