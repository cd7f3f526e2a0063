"""What is done again when something changes: the workflow, the checkpoint, the prompt, the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

from benchmarks.contestants import Field
from benchmarks.options import Options
from benchmarks.results import Demand, Figure, Row
from benchmarks.tasks import Picture
from benchmarks.worker import Answer, Worker
from benchmarks.workflows import Drawn, renamed, text_to_image

NAME = "switching"
PICTURE = Picture(64, 1)
"""As little sampling as there can be, so that what comes on top shows."""
SUBJECT = "weft bf16"
REACH_SECONDS = 0.2
NODES_AFTER_SEED, NODES_AFTER_PROMPT = 3, 4
"""Sampler, decoder and saving; and the encoding of that prompt."""


@dataclass(frozen=True)
class _Bench:
    """A warm worker, and numbers that make every picture another one."""

    worker: Worker

    def run(self, workflow: Drawn) -> Answer:
        return self.worker.ask("run", workflow=workflow)


def measure(options: Options) -> Row:
    """All in one process, in which each thing is done once before."""
    field = Field.of(options, options.full_size())
    first, second = field.materials.checkpoint.name, field.materials.in_precision("bf16")
    with field.get(SUBJECT).start() as worker:
        bench = _Bench(worker)
        load = bench.run(text_to_image(PICTURE, first))
        seed = bench.run(text_to_image(replace(PICTURE, seed=1), first))
        prompt = bench.run(text_to_image(replace(PICTURE, seed=1, prompt="a red boat"), first))
        workflow = bench.run(renamed(text_to_image(PICTURE.numbered(2), first), "-other"))
        bench.run(text_to_image(PICTURE, second))
        cost, made = _alternate(bench, first, second, rounds=3 if options.quick else 10)
    answers = {
        "first run, loads": load,
        "changed seed": seed,
        "changed prompt": prompt,
        "another workflow, another prompt": workflow,
    }
    figures = [figure for case, answer in answers.items() for figure in _figures(case, answer)]
    figures.append(Figure.of("switch between two checkpoints, on top of the run", SUBJECT, cost, "s"))
    return Row(
        NAME,
        f"Switching (SD 1.5, {PICTURE.size}x{PICTURE.size}, one step, so that what is done again shows)",
        tuple(figures),
        (
            Demand("changed seed", "nodes run", _nodes(seed), NODES_AFTER_SEED, "nodes", at_least=False),
            Demand(
                "changed prompt", "nodes run", _nodes(prompt), NODES_AFTER_PROMPT, "nodes", at_least=False
            ),
            Demand("another workflow", "networks made", _made(workflow), 0, "networks", at_least=False),
            Demand("two checkpoints in turn", "time of a switch", median(cost), REACH_SECONDS, "s", False),
            Demand("two checkpoints in turn", "networks made", made, 0, "networks", at_least=False),
        ),
        notes=(
            "A changed seed runs sampler, decoder and saving again; a changed prompt also its own encoding. Networks "
            "made include those without weights, by which a loader checks a file.",
        ),
    )


def _alternate(bench: _Bench, first: str, second: str, *, rounds: int) -> tuple[list[float], float]:
    """What it costs to change to the other checkpoint: seconds against a run that stays, and networks made."""
    cost, made = [], 0.0
    for number in range(1, rounds + 1):
        for checkpoint in (first, second):
            switch = bench.run(text_to_image(PICTURE.numbered(4 * number), checkpoint))
            stay = bench.run(text_to_image(PICTURE.numbered(4 * number + 1), checkpoint))
            cost.append(switch.seconds - stay.seconds)
            made += _made(switch)
    return cost, made


def _figures(case: str, answer: Answer) -> list[Figure]:
    return [
        Figure.of(f"{case}: time", SUBJECT, [answer.seconds], "s"),
        Figure.of(f"{case}: nodes run", SUBJECT, [_nodes(answer)], "nodes"),
        Figure.of(f"{case}: networks made", SUBJECT, [_made(answer)], "networks"),
    ]


def _nodes(answer: Answer) -> float:
    return float(len(answer.result["nodes_run"]))


def _made(answer: Answer) -> float:
    return float(answer.result["networks_made"])
