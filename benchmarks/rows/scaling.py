"""How time grows with steps, size and batch, ours and the peers': what the plot shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from benchmarks.contestants import Field
from benchmarks.interleave import pictures, wall_figures, working
from benchmarks.options import Options
from benchmarks.results import Figure, Row
from benchmarks.rows.sampling import CONTEST
from benchmarks.tasks import Picture
from benchmarks.worker import Answer

NAME = "scaling"
BASE = Picture(256, 4)
STEPS = (1, 2, 4, 8, 16)
SIZES = (256, 384, 512, 768)
BATCHES = (1, 2, 4)
_SEEDS_EACH = 10
"""Further apart than there are rounds: the same size and steps come twice, and must not be found in a cache."""


def measure(options: Options) -> Row:
    """One thing varies at a time; one round, since a line shows its own noise."""
    field = Field.of(options, options.full_size())
    short = replace(BASE, size=min(options.sizes), steps=1 if options.quick else BASE.steps)
    tasks = {
        "steps": [replace(short, steps=steps) for steps in (STEPS[:2] if options.quick else STEPS)],
        "size": [replace(short, size=size) for size in (options.sizes if options.quick else SIZES)],
        "batch": [replace(short, batch=batch) for batch in (BATCHES[:2] if options.quick else BATCHES)],
    }
    figures: list[Figure] = []
    seeds = count(step=_SEEDS_EACH)
    with working(field.choose(CONTEST)) as workers:
        for axis, varied in tasks.items():
            for picture in varied:
                answers = pictures(workers, replace(picture, seed=next(seeds)), 1)
                figures += _at(axis, picture, answers)
            for name, worker in workers.items():
                if name.startswith("openvino"):
                    worker.ask("forget")
    return Row(
        NAME,
        "Time against steps, size and batch",
        tuple(figures),
        notes=(
            f"Where they are not what varies: {short.size}x{short.size}, {short.steps} steps, one picture. "
            "VAE and PNG included.",
        ),
    )


def _at(axis: str, picture: Picture, answers: dict[str, list[Answer]]) -> tuple[Figure, ...]:
    value = getattr(picture, axis)
    return wall_figures(f"{axis} {value}", answers, **{axis: float(value)})
