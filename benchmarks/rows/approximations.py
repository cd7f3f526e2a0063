"""Opt-in approximations: what each saves at full size, and what it loses of the tiny checkpoint's pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.compare import picture_psnr
from benchmarks.contestants import Field
from benchmarks.interleave import interleaved, say
from benchmarks.options import Options
from benchmarks.results import Figure, Row
from benchmarks.rows.accuracy import PROMPTS
from benchmarks.tasks import Picture
from benchmarks.worker import Answer, SubjectFailed, Worker
from benchmarks.workflows import Drawn, text_to_image, with_model_node, with_other_vae

NAME = "approximations"
EXACT = "exact"
STEPS = 10
SUBJECT = "weft bf16"


@dataclass(frozen=True)
class Variant:
    """A workflow that is faster and not quite the same: its name, and how it differs from the exact one."""

    name: str
    change: Callable[[Drawn], Drawn]


def _model_node(class_type: str, **inputs: Any) -> Callable[[Drawn], Drawn]:
    return partial(with_model_node, class_type=class_type, **inputs)


VARIANTS = (
    Variant("token merging, 0.3", _model_node("TomePatchModel", ratio=0.3)),
    Variant("token merging, 0.5", _model_node("TomePatchModel", ratio=0.5)),
    Variant("DeepCache, every 2nd step", _model_node("DeepCache", cache_interval=2)),
    Variant("DeepCache, every 3rd step", _model_node("DeepCache", cache_interval=3)),
    Variant("first block cache, 0.12", _model_node("ApplyFBCacheOnModel", residual_diff_threshold=0.12)),
    Variant("guidance from 0.2 to 0.8", _model_node("GuidanceInterval")),
    Variant("tiny decoder", partial(with_other_vae, vae_name="weft-tiny-taesd")),
)


def measure(options: Options) -> Row:
    """Every variant beside the exact workflow, in one process."""
    size = max(options.sizes)
    picture = Picture(size, 2 if options.quick else STEPS)
    say("speed")
    field = Field.of(options, options.full_size())
    with field.get(SUBJECT).start() as worker:
        worker.ask("picture", **asdict(Picture(size, 1)))
        speed = interleaved(_runs(worker, field, picture), 1, warm_up=False)
    say("loss")
    tiny = Field.of(options, options.tiny)
    with tiny.get("weft fp32").start() as worker:
        loss = _losses(worker, tiny)
    case = f"{size}x{size}, {picture.steps} steps"
    return Row(
        NAME,
        "Opt-in approximations",
        (*_speed_figures(case, speed), *_loss_figures(loss)),
        notes=(
            *_absent(speed),
            "The tiny decoder is the tiny checkpoint's own; it is as fast for any other.",
            "Speed: text to PNG of the full-size checkpoint. Loss: the tiny checkpoint's pictures, 128x128 in 20 "
            f"steps, against the exact ones of {len(PROMPTS)} prompts; more decibels are less loss.",
        ),
    )


def _runs(worker: Worker, field: Field, picture: Picture) -> dict[str, Callable[[int], Answer]]:
    """A seed for each, so that none finds another's latent in the cache."""
    changes: dict[str, Callable[[Drawn], Drawn]] = {EXACT: dict, **{v.name: v.change for v in VARIANTS}}
    name_here = field.materials.checkpoint.name
    return {
        name: partial(_run, worker, change(text_to_image(replace(picture, seed=seed), name_here)))
        for seed, (name, change) in enumerate(changes.items(), 100)
    }


def _run(worker: Worker, workflow: Drawn, number: int) -> Answer:
    return worker.ask("run", workflow=workflow)


def _speed_figures(case: str, speed: Mapping[str, list[Answer]]) -> list[Figure]:
    seconds = {name: runs[0].seconds for name, runs in speed.items()}
    figures = [Figure.of(f"{case}: time", name, [taken], "s") for name, taken in seconds.items()]
    return figures + [
        Figure.of(f"{case}: faster than exact", name, [seconds[EXACT] / taken], "times")
        for name, taken in seconds.items()
        if name != EXACT and EXACT in seconds
    ]


def _losses(worker: Worker, field: Field) -> dict[str, list[float]]:
    """Decibels of each variant, one for each prompt; variants that fail are left out."""
    pictures = [Picture(128, 20, seed=seed, cfg=5.0, prompt=prompt) for seed, prompt in enumerate(PROMPTS)]
    drawn = [text_to_image(picture, field.materials.checkpoint.name) for picture in pictures]
    exact = [_made(worker, workflow) for workflow in drawn]
    losses = {}
    for variant in VARIANTS:
        try:
            changed = [_made(worker, variant.change(workflow)) for workflow in drawn]
        except SubjectFailed:
            continue
        losses[variant.name] = [picture_psnr(*pair) for pair in zip(changed, exact, strict=True)]
    return losses


def _made(worker: Worker, workflow: Drawn) -> Path:
    return Path(worker.ask("run", workflow=workflow).result["files"][0])


def _loss_figures(losses: Mapping[str, list[float]]) -> list[Figure]:
    return [Figure.of("likeness to the exact picture", name, ratios, "dB") for name, ratios in losses.items()]


def _absent(speed: Mapping[str, object]) -> list[str]:
    missing = [variant.name for variant in VARIANTS if variant.name not in speed]
    return [f"Not there yet, or failed: {', '.join(missing)}."] if missing else []
