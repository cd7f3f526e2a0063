"""Memory at its peak, when a checkpoint is loaded and while sampling, from files of each precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from benchmarks.contestants import Contestant, Field
from benchmarks.interleave import say
from benchmarks.options import Options
from benchmarks.results import GB, Demand, Figure, Row
from benchmarks.tasks import Picture
from benchmarks.worker import SubjectFailed, Worker
from benchmarks.workflows import text_to_image

NAME = "memory"
REACH_GB = 3.2
"""Resident, for SD 1.5 in bf16 at 512x512."""
SMALL = Picture(64, 1)
"""Makes every network, at next to no cost in activations."""


def measure(options: Options) -> Row:
    """Each case in a fresh process."""
    field = Field.of(options, options.full_size())
    size = max(options.sizes)
    picture = Picture(size, 2)
    files = {dtype: field.materials.in_precision(dtype) for dtype in _precisions(options)}
    cases = {
        f"from a file in {dtype}": field.get("weft bf16", checkpoint=file) for dtype, file in files.items()
    }
    cases["with two LoRAs"] = field.get("weft bf16", loras=field.materials.loras())
    figures: list[Figure] = []
    demands: list[Demand] = []
    for case, contestant in cases.items():
        peaks = _peaks(case, contestant, picture)
        figures += _figures(f"{size}x{size}, {case}", "weft bf16", peaks)
        resident = peaks.get("sampling, resident")
        demands.append(
            Demand(f"{size}x{size}, {case}", "peak resident", resident, REACH_GB, "GB", at_least=False)
        )
    other = next(iter(files.values()))
    figures += _figures("with a second checkpoint", "weft bf16", _two_checkpoints(field, picture, other))
    for name, peer in field.choose(("diffusers bf16", "openvino bf16")).items():
        figures += _figures(f"{size}x{size}, from a file in fp32", name, _peaks(name, peer, picture))
    return Row(
        NAME,
        "Memory at its peak",
        tuple(figures),
        tuple(demands),
        notes=(
            "Resident memory counts mapped pages of files, which the system takes back when it needs them; private "
            "memory does not. OpenVINO's is with its compiling, from weights converted to half precision beforehand.",
        ),
    )


def _precisions(options: Options) -> tuple[str, ...]:
    return ("fp32",) if options.quick else ("fp32", "fp16", "bf16")


def _peaks(case: str, contestant: Contestant, picture: Picture) -> dict[str, float]:
    """Gigabytes by name: at load and while sampling, resident and private. Empty when it can't run."""
    say(f"memory: {case}")
    try:
        with contestant.start() as worker:
            loading = worker.ask("picture", **asdict(SMALL)).memory
            return {**_named("load", loading), **_named("sampling", _sampling(worker, picture))}
    except SubjectFailed as error:
        say(f"{case} failed: {error}")
        return {}


def _sampling(worker: Worker, picture: Picture) -> Mapping[str, int]:
    worker.ask("reset_memory")
    return worker.ask("picture", **asdict(picture)).memory


def _two_checkpoints(field: Field, picture: Picture, other: str) -> dict[str, float]:
    """While a second checkpoint is loaded beside the first, and used in turn with it."""
    say("memory: two checkpoints")
    with field.get("weft bf16").start() as worker:
        worker.ask("picture", **asdict(picture))
        worker.ask("reset_memory")
        worker.ask("run", workflow=text_to_image(picture, other))
        last = worker.ask("picture", **asdict(picture.numbered(1)))
    return _named("sampling", last.memory)


def _named(when: str, memory: Mapping[str, int]) -> dict[str, float]:
    return {f"{when}, {kind}": value / GB for kind, value in memory.items()}


def _figures(case: str, subject: str, peaks: Mapping[str, float]) -> list[Figure]:
    return [Figure.of(f"{case}: {name}", subject, [value], "GB") for name, value in peaks.items()]
