"""From text to PNG, warm, ours and the peers' in one interleaved run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.compare import picture_psnr
from benchmarks.contestants import Field
from benchmarks.interleave import find, pictures, wall_figures, working
from benchmarks.options import Options
from benchmarks.results import GB, Demand, Figure, Row, ratio_demand
from benchmarks.tasks import Picture
from benchmarks.worker import Answer, Worker

NAME = "sampling"
CONTESTS = (("weft bf16", "openvino bf16", "diffusers bf16"), ("weft bf16", "server"))
FULL_PRECISION = ("weft fp32", "openvino fp32")
REACH: Mapping[int, Mapping[str, float]] = {
    256: {"openvino bf16": 1.1, "diffusers bf16": 1.5, "server": 3.9},
    512: {"openvino bf16": 1.1, "diffusers bf16": 1.45, "server": 3.7},
}
REACH_FULL_PRECISION = 1.05


def measure(options: Options) -> Row:
    """Contests one after the other, because a machine whose memory is full measures its memory: among those who compute
    in bf16, with the server, and in fp32."""
    field = Field.of(options, options.full_size())
    figures: list[Figure] = []
    demands: list[Demand] = []
    for contest in contests(field):
        measured, reached = _contest(field, contest, options)
        figures += measured
        demands += reached
    more, demand = _full_precision(field, options)
    return Row(
        NAME,
        "From text to PNG, warm",
        (*figures, *more),
        (*demands, demand),
        notes=(
            "Euler, guidance 7.5 as one batch of two, a new prompt and seed each time. OpenVINO's conversion and "
            "compiling are not counted.",
            "The server computes as it does by default. Decibels say how near a picture comes to Weft's of the same "
            "seed; between precisions, a checkpoint of random weights keeps little.",
        ),
    )


def contests(field: Field) -> list[tuple[str, ...]]:
    """Those of CONTESTS that have somebody to measure: after the first, not Weft alone."""
    return [names for names in CONTESTS if names == CONTESTS[0] or len(field.choose(names)) > 1]


def _contest(field: Field, names: Sequence[str], options: Options) -> tuple[list[Figure], list[Demand]]:
    figures: list[Figure] = []
    demands: list[Demand] = []
    with working(field.choose(names)) as workers:
        for size in options.sizes:
            case = _case(size, options) + (", beside the server" if "server" in workers else "")
            answers = pictures(workers, Picture(size, options.steps), options.rounds)
            measured = wall_figures(case, answers, size=size, steps=options.steps)
            figures += [*measured, *_agreement(case, answers)]
            demands += [
                ratio_demand(
                    case, find(measured, names[0]), find(measured, peer), REACH[size][peer], peer=peer
                )
                for peer in names[1:]
                if peer in REACH.get(size, {})
            ]
        figures += _memory({name: worker for name, worker in workers.items() if len(workers) > 1})
        if "server" in workers:
            workers["server"].ask("forget")
    return figures, demands


def _case(size: int, options: Options) -> str:
    return f"{size}x{size}, {options.steps} steps"


def _full_precision(field: Field, options: Options) -> tuple[tuple[Figure, ...], Demand]:
    size = min(options.sizes)
    case = f"{_case(size, options)}, fp32"
    with working(field.choose(FULL_PRECISION)) as workers:
        answers = pictures(workers, Picture(size, options.steps), options.rounds)
    measured = wall_figures(case, answers)
    ours, peer = find(measured, "weft fp32"), find(measured, "openvino fp32")
    figures = (*measured, *_agreement(case, answers))
    return figures, ratio_demand(case, ours, peer, REACH_FULL_PRECISION, peer="openvino fp32")


def _agreement(case: str, answers: Mapping[str, list[Answer]]) -> list[Figure]:
    """How like Weft's picture the others' are: those of the last round, which are all of one prompt and seed."""
    files = {name: Path(runs[-1].result["files"][0]) for name, runs in answers.items()}
    ours = next((name for name in files if name.startswith("weft")), None)
    return [
        Figure.of(f"{case}: likeness to Weft's picture", name, [picture_psnr(file, files[ours])], "dB")
        for name, file in files.items()
        if ours and name != ours
    ]


def _memory(workers: Mapping[str, Worker]) -> list[Figure]:
    """Peaks since each subject's start, over loading and every size."""
    figures = []
    for name, worker in workers.items():
        peaks = worker.ask("server_memory").result if name == "server" else worker.ask("reset_memory").memory
        figures += [
            Figure.of(f"peak memory, {kind}", name, [peaks[kind] / GB], "GB")
            for kind in ("resident", "private")
            if kind in peaks
        ]
    return figures
