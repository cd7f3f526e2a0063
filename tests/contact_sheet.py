"""`python -m tests.contact_sheet OUT.png`: 48 pictures of one seed on one sheet, none picked out, to be looked at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.lora.apply import apply_lora
from diffusion.lora.read import read_lora
from diffusion.runtime import Runtime
from tests.adherence import CHECKPOINT, Settings, draw, prompts
from training.drawing.split import Split

COLUMNS = 12
GAP = 2

SCENES = (
    "an orange cat on a blue background",
    "a flower with blue petals in a meadow on a sunny day",
    "a cactus in the desert at sunset",
    "a snowman with a green scarf and a black hat on a sunny day",
    "a city skyline at night",
    "an orange fish in the sea facing right",
    "a rainbow over green hills",
    "a snowy mountain with a lake at sunset",
    "a winking yellow face on a black background",
    "a white house with a red roof and a green tree on a sunny day",
    "an orange planet with a white ring in space",
    "a red sailboat with a white sail on the sea at night",
    "a gray cat with green eyes on a yellow background",
    "two snowy mountains with pine trees under a blue sky",
    "a brown cat with blue eyes on a gray background",
    "a sailboat with a purple sail on the ocean at sunset",
    "a white rocket with a red nose in space with a planet",
    "a city with tall buildings under a cloudy sky",
    "a red and yellow hot air balloon in the sky at dawn",
    "a house with a green roof next to an apple tree at sunset",
    "a blue mushroom with white spots at night",
    "a sad orange face on a pink background",
    "a red car on a road at sunrise",
    "an ice cream cone with a pink scoop on top of a brown scoop on a blue background",
)


def texts() -> list[str]:
    """The sheet's prompts: 12 of one shape and 12 of two, of combinations never trained on, and 24 scenes."""
    return [*prompts("one shape", Split.HELDOUT, 12), *prompts("two shapes", Split.HELDOUT, 12), *SCENES]


def sheet(pictures: Sequence[torch.Tensor]) -> Image.Image:
    """Pictures [H, W, 3], 0..1, side by side in rows."""
    height, width = pictures[0].shape[0] + GAP, pictures[0].shape[1] + GAP
    image = Image.new("RGB", (COLUMNS * width, -(-len(pictures) // COLUMNS) * height))
    for number, picture in enumerate(pictures):
        pixels = Image.fromarray((picture * 255).round().byte().numpy())
        image.paste(pixels, (number % COLUMNS * width, number // COLUMNS * height))
    return image


def styled(checkpoint: Checkpoint, lora: Path) -> Checkpoint:
    """The checkpoint with a LoRA on its model at full strength."""
    model, _ = apply_lora(checkpoint.model, None, read_lora(lora), strength_model=1.0, strength_clip=0.0)
    assert model is not None
    return checkpoint._replace(model=model)


def main() -> int:
    """Draw the sheet and save it."""
    parser = argparse.ArgumentParser(prog="python -m tests.contact_sheet", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--lora", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint, Runtime())
    if arguments.lora:
        checkpoint = styled(checkpoint, arguments.lora)
    pictures = list(draw(checkpoint, texts(), Settings(seed=arguments.seed)))
    sheet(pictures).save(arguments.out, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
