"""Do pictures show what was asked? Prompts about shapes, checked by program; `python -m tests.adherence` prints shares.

`check_picture(image, prompt)` judges one picture. The prompts are combinations of words never drawn in training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image as Pictures
from tqdm import tqdm

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.codec import decode_latent
from diffusion.runtime import Runtime
from diffusion.sampling.sample import sample
from diffusion.text.encode import encode
from diffusion.types import Cond, Conditioning, Latent
from imaging.shapes.adherence import Asked, Verdict, check_pixels, parse_prompt
from imaging.shapes.reading import Pixels
from training.drawing import Canvas
from training.drawing.arrangements import one_shape, two_shapes
from training.drawing.split import Split

__all__ = [
    "CHECKPOINT",
    "CLASSES",
    "Asked",
    "Settings",
    "Verdict",
    "check_picture",
    "draw",
    "parse_prompt",
    "prompts",
    "table",
]

CHECKPOINT = Path(__file__).parents[1] / "models" / "checkpoints" / "weft-tiny.safetensors"
CLASSES = {"one shape": (one_shape, 0.95), "two shapes": (two_shapes, 0.85)}
"""What is asked for, and the share that must be right."""
BATCH = 24
TRIES = 50


def check_picture(image: torch.Tensor | Pictures.Image | Path, prompt: str) -> Verdict:
    """What of the prompt the picture shows.

    image: [H, W, 3] or [1, H, W, 3], 0..1, or a PIL picture, or a file. prompt: one shape, or two in a relation, on a
    background of a colour. Raises ValueError for other prompts.
    """
    return check_pixels(_pixels(image), prompt)


def _pixels(image: torch.Tensor | Pictures.Image | Path) -> Pixels:
    if isinstance(image, torch.Tensor):
        return image.reshape(image.shape[-3:])[..., :3].double().numpy()
    picture = Pictures.open(image) if isinstance(image, Path) else image
    return np.asarray(picture.convert("RGB"), dtype=np.float64) / 255


def prompts(kind: str, split: Split, count: int) -> list[str]:
    """`count` prompts of a class in CLASSES, the same every time; none twice while there are others in `split`."""
    arrangement, _ = CLASSES[kind]
    rng, texts, seen = Random(f"{kind}:{split.value}"), list[str](), set[Asked]()
    while len(texts) < count:
        for _ in range(TRIES):
            text = " ".join(arrangement(rng, Canvas(scale=1), split).split())
            if parse_prompt(text) not in seen:
                break
        seen.add(parse_prompt(text))
        texts.append(text)
    return texts


@dataclass(frozen=True)
class Settings:
    """How pictures are sampled."""

    steps: int = 20
    cfg: float = 5.0
    sampler: str = "ddim"
    scheduler: str = "ddim_uniform"
    seed: int = 0


def draw(checkpoint: Checkpoint, texts: Sequence[str], settings: Settings) -> Iterator[torch.Tensor]:
    """One picture for each text, [128, 128, 3], 0..1, sampled in batches."""
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        latent = sample(
            checkpoint.model,
            positive=_together([encode(checkpoint.clip, text) for text in batch]),
            negative=encode(checkpoint.clip, ""),
            latent=Latent(torch.zeros(len(batch), 4, 16, 16)),
            seed=settings.seed + start,
            steps=settings.steps,
            cfg=settings.cfg,
            sampler_name=settings.sampler,
            scheduler=settings.scheduler,
        )
        yield from decode_latent(checkpoint.vae, latent)


def _together(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One conditioning for a batch, in which each picture has its own prompt."""
    return Conditioning((Cond(torch.cat([one.entries[0].embedding for one in conditionings])),))


def table(verdicts: dict[str, list[Verdict]]) -> str:
    """The shares as text, a line for each class."""
    lines = [
        f"{'':12}{'n':>5}{'background':>12}{'colours':>9}{'shapes':>8}{'relation':>10}{'all':>7}{'to reach':>10}"
    ]
    for kind, judged in verdicts.items():
        shares = [
            100 * sum(getattr(verdict, part) for verdict in judged) / len(judged)
            for part in ("background", "colours", "shapes", "relation", "right")
        ]
        background, colours, shapes, relation, right = (f"{share:.0f}%" for share in shares)
        relation = relation if kind != "one shape" else "-"
        lines.append(
            f"{kind:12}{len(judged):5}{background:>12}{colours:>9}{shapes:>8}{relation:>10}{right:>7}"
            f"{CLASSES[kind][1]:>10.0%}"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the table; the exit code is 1 when a share is below what is to be reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.adherence", description=__doc__)
    parser.add_argument("--prompts", type=int, default=72, help="of each class (default 72)")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument(
        "--set", choices=("heldout", "final"), default="heldout", help="final: not for tuning"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=5.0)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--scheduler", default="ddim_uniform")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = Settings(
        arguments.steps, arguments.cfg, arguments.sampler, arguments.scheduler, arguments.seed
    )
    checkpoint = load_checkpoint(arguments.checkpoint, Runtime())
    verdicts = {}
    for kind in CLASSES:
        texts = prompts(kind, Split(arguments.set), arguments.prompts)
        pictures = tqdm(draw(checkpoint, texts, settings), total=len(texts), desc=kind, leave=False)
        verdicts[kind] = [check_picture(picture, text) for picture, text in zip(pictures, texts, strict=True)]
    print(table(verdicts))
    reached = all(
        sum(verdict.right for verdict in judged) >= CLASSES[kind][1] * len(judged)
        for kind, judged in verdicts.items()
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
