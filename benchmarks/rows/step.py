"""One step of sampling: in bf16, in fp32, and with two LoRAs."""

from __future__ import annotations

from benchmarks.contestants import Contestant, Field
from benchmarks.interleave import find, pictures, working
from benchmarks.options import Options
from benchmarks.results import Demand, Figure, Row, ratio_demand
from benchmarks.tasks import Picture
from benchmarks.worker import Answer

NAME = "step"
STEPS = 5
"""Sampled in each run. The first is not counted: nothing says when it began."""
PATCHED = "weft bf16, two LoRAs"
PATCHED_REACH = 1.05
"""Patched models keep the speed: what may be lost to the noise of the measurement."""


def measure(options: Options) -> Row:
    """bf16 at every size, fp32 at the smallest."""
    field = Field.of(options, options.full_size())
    half = field.choose(("weft bf16", "openvino bf16", "diffusers bf16"))
    half[PATCHED] = field.get("weft bf16", loras=field.materials.loras())
    figures = [figure for size in options.sizes for figure in _steps(half, size, options)]
    full = field.choose(("weft fp32", "openvino fp32"))
    figures += _steps(full, min(options.sizes), options)
    return Row(
        NAME,
        "One step of sampling (the UNet with both halves of the guidance, and the sampler)",
        tuple(figures),
        tuple(_demands(tuple(figures), options)),
        notes=("The LoRAs are of rank 16 and change every linear layer of the attention blocks.",),
    )


def _steps(contestants: dict[str, Contestant], size: int, options: Options) -> list[Figure]:
    picture = Picture(size, STEPS, decode=False)
    with working(contestants) as workers:
        answers = pictures(workers, picture, options.rounds)
    return [
        Figure.of(f"{size}x{size}, a step", name, _seconds(runs), "s", size=size)
        for name, runs in answers.items()
    ]


def _seconds(runs: list[Answer]) -> list[float]:
    return [seconds for run in runs for seconds in run.result["step_seconds"]]


def _demands(figures: tuple[Figure, ...], options: Options) -> list[Demand]:
    demands = []
    for size in options.sizes:
        case = f"{size}x{size}, a step"
        plain, patched = find(figures, "weft bf16", case), find(figures, PATCHED, case)
        ratio = patched.value / plain.value if plain and patched else None
        what = "time with two LoRAs against none"
        demands.append(
            Demand(case, what, ratio, PATCHED_REACH, at_least=False, why="" if ratio else "it failed")
        )
    case = f"{min(options.sizes)}x{min(options.sizes)}, a step"
    ours, peer = find(figures, "weft fp32", case), find(figures, "openvino fp32", case)
    return [*demands, ratio_demand(f"{case}, fp32", ours, peer, 1.05, peer="openvino fp32")]
