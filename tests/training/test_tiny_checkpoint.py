"""The files that are shipped: pictures show what was asked, and the LoRA does what its name says."""

from pathlib import Path

import pytest
import torch

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.runtime import Runtime
from tests.adherence import CHECKPOINT, CLASSES, Settings, check_picture, draw, prompts
from tests.contact_sheet import styled
from training.drawing.split import Split
from training.networks import LARGEST_FILE

LORA = Path(__file__).parents[2] / "models" / "loras" / "weft-tiny-outline.safetensors"
STYLED = (
    "a red circle on a white background",
    "a yellow square on a green background",
    "a pink heart on a blue background",
    "an orange diamond on a white background",
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(CHECKPOINT, Runtime())


def ink(pictures: list[torch.Tensor]) -> float:
    """The share of pixels darker than any of the colours asked for."""
    return (torch.stack(pictures).amax(-1) < 0.5).float().mean().item()


def test_the_files_are_small() -> None:
    assert CHECKPOINT.stat().st_size < LARGEST_FILE
    assert LORA.stat().st_size < 1024 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLASSES)
def test_pictures_show_what_was_asked(checkpoint: Checkpoint, kind: str) -> None:
    texts = prompts(kind, Split.HELDOUT, 12)
    right = [
        check_picture(picture, text).right
        for picture, text in zip(draw(checkpoint, texts, Settings()), texts, strict=True)
    ]
    assert sum(right) >= 11


@pytest.mark.slow
def test_the_lora_puts_ink_around_shapes(checkpoint: Checkpoint) -> None:
    plain, outlined = (list(draw(one, STYLED, Settings())) for one in (checkpoint, styled(checkpoint, LORA)))
    assert ink(plain) < 0.002
    assert ink(outlined) > 0.015
