"""`python -m tests.sampler_sheet OUT.png`: the same prompts and seed under every sampler, to be looked at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.runtime import Runtime
from diffusion.sampling.samplers import SAMPLERS
from tests.adherence import CHECKPOINT, Settings, draw

PROMPTS = (
    "an orange cat on a blue background",
    "a red circle to the left of a green square on a yellow background",
)
COLUMNS = 7
SIDE, LABEL, GAP = 128, 14, 4


def guidance(sampler: str) -> float:
    """CFG++ wants a scale near 1 where the others want several."""
    return 1.0 if sampler.endswith("_cfg_pp") else 5.0


def main() -> int:
    """Draw the sheet and save it."""
    parser = argparse.ArgumentParser(prog="python -m tests.sampler_sheet", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scheduler", default="karras")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--samplers", nargs="*", default=[n for n in SAMPLERS if not n.endswith("_gpu")])
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(CHECKPOINT, Runtime())
    width, height = len(PROMPTS) * SIDE + GAP, SIDE + LABEL + GAP
    rows = -(-len(arguments.samplers) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, sampler in enumerate(arguments.samplers):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        pen.text((left + 2, top + 1), sampler, fill="black")
        settings = Settings(
            steps=arguments.steps, cfg=guidance(sampler), sampler=sampler, scheduler=arguments.scheduler
        )
        for place, picture in enumerate(draw(checkpoint, PROMPTS, settings)):
            pixels = Image.fromarray((picture * 255).round().byte().numpy())
            sheet.paste(pixels, (left + place * SIDE, top + LABEL))
    sheet.save(arguments.out, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
