"""How time grows with steps, size and batch, ours and the peers': what the plot shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from benchmarks.contestants import Field
from benchmarks.interleave import pictures, wall_figures, working
from benchmarks.options import Options
from benchmarks.results import Figure, Row
from benchmarks.rows.sampling import contests
from benchmarks.tasks import Picture
from benchmarks.worker import Answer, Worker

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
    for contest in contests(field):
        with working(field.choose(contest)) as workers:
            # Weft's own line is there from the first contest; beside the server it only takes its turn.
            shown = [name for name in workers if not figures or not name.startswith("weft")]
            figures += _contest(workers, tasks, shown)
    return Row(
        NAME,
        "Time against steps, size and batch",
        tuple(figures),
        notes=(
            f"Where they are not what varies: {short.size}x{short.size}, {short.steps} steps, one picture. "
            "VAE and PNG included.",
        ),
    )


def _contest(
    workers: Mapping[str, Worker], tasks: Mapping[str, Sequence[Picture]], shown: Sequence[str]
) -> list[Figure]:
    figures: list[Figure] = []
    seeds = count(step=_SEEDS_EACH)
    for axis, varied in tasks.items():
        for picture in varied:
            answers = pictures(workers, replace(picture, seed=next(seeds)), 1)
            figures += _at(axis, picture, {name: answers[name] for name in shown if name in answers})
        for name, worker in workers.items():
            if not name.startswith(("weft", "diffusers")):
                worker.ask("forget")
    return figures


def _at(axis: str, picture: Picture, answers: dict[str, list[Answer]]) -> tuple[Figure, ...]:
    value = getattr(picture, axis)
    return wall_figures(f"{axis} {value}", answers, **{axis: float(value)})
