"""`python -m tests.sampler_sheet OUT.webp`: one prompt and seed under every sampler and scheduler, to be looked at.

A row for every sampler, a column for every scheduler; a picture that is not a number anywhere, or that does not show
what was asked, is named on standard output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.runtime import Runtime
from diffusion.sampling.samplers import SAMPLERS
from diffusion.sampling.schedule import SCHEDULERS
from tests.adherence import CHECKPOINT, Settings, check_picture, draw

PROMPT = "a large yellow star on a blue background"
CELL, LABEL, HEAD, GAP = 64, 200, 20, 2


def main() -> int:
    """Draw the sheet and save it."""
    parser = argparse.ArgumentParser(prog="python -m tests.sampler_sheet", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompt", default=PROMPT)
    arguments = parser.parse_args()
    samplers = [name for name in SAMPLERS if not name.endswith("_gpu")]
    size = (LABEL + len(SCHEDULERS) * (CELL + GAP), HEAD + len(samplers) * (CELL + GAP))
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, scheduler in enumerate(SCHEDULERS):
        pen.text((LABEL + column * (CELL + GAP), 4), scheduler[:12], "black", font)
    checkpoint = load_checkpoint(CHECKPOINT, Runtime())
    for row, sampler in enumerate(samplers):
        top = HEAD + row * (CELL + GAP)
        pen.text((4, top + CELL // 2 - 6), sampler, "black", font)
        for column, scheduler in enumerate(SCHEDULERS):
            settings = Settings(arguments.steps, arguments.cfg, sampler, scheduler, arguments.seed)
            (picture,) = draw(checkpoint, [arguments.prompt], settings)
            verdict = check_picture(picture, arguments.prompt)
            if not verdict.right:
                print(f"{sampler}, {scheduler}: {verdict}", flush=True)
            pixels = (picture.nan_to_num().clamp(0, 1) * 255).round().byte().numpy()
            cell = Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.LANCZOS)
            sheet.paste(cell, (LABEL + column * (CELL + GAP), top))
    sheet.save(arguments.out, quality=85)
    return 0


if __name__ == "__main__":
    sys.exit(main())
