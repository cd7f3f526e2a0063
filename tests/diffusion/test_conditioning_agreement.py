"""Areas, masks, strengths, ranges and defaults against what ComfyUI 0.3.64 predicts with the same toy model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffusion.networks.attachments import Hooks
from diffusion.networks.attention import Prompt
from diffusion.sampling.denoiser import Denoiser
from diffusion.sampling.parts import Plan
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.types import Area, Cond, Conditioning, Scope
from tests.nodes.toys import unet

DATA = Path(__file__).parents[1] / "data" / "conditioning"
CASES: list[dict[str, Any]] = json.loads((DATA / "cases.json").read_text())
RESULTS = load_file(DATA / "results.safetensors")
SD = stable_diffusion_schedule()
SIGMA = 3.0


def run_unet(x: Tensor, timesteps: Tensor, prompt: Prompt, hooks: Hooks) -> Tensor:
    rows = len(prompt.context)
    return unet(x.repeat(rows // len(x), 1, 1, 1), timesteps, prompt.context)


def mask(name: str) -> Tensor:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(60.0), indexing="ij")
    disc = (1 - ((y - 20) ** 2 + (x - 30) ** 2) / 200).clamp(0, 1)
    dot = ((y - 40).abs() + (x - 50).abs() < 3).float()
    return {"disc": disc[None], "dot": dot[None], "two": torch.stack([disc, dot])}[name]


def area(given: list[Any]) -> Area:
    height, width, top, left = given[-4:]
    return Area(height, width, top, left, shares=len(given) == 5)


def conditioning(entries: list[dict[str, Any]]) -> Conditioning:
    return Conditioning(
        tuple(
            Cond(
                torch.full((1, entry.get("tokens", 77), 1), entry["value"]),
                scope=Scope(
                    area=area(entry["area"]) if "area" in entry else None,
                    strength=entry.get("strength", 1.0),
                    mask=mask(entry["mask"]) if "mask" in entry else None,
                    mask_strength=entry.get("mask_strength", 1.0),
                    crop_to_mask=entry.get("set_area_to_bounds", False),
                    start=entry.get("start_percent", 0.0),
                    end=entry.get("end_percent", 1.0),
                    fallback=entry.get("default", False),
                ),
            )
            for entry in entries
        )
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_agrees(case: dict[str, Any]) -> None:
    names = [name for name in ("positive", "middle", "negative") if name in case]
    asked = [conditioning(case[name]) for name in names]
    x = torch.randn(case.get("batch", 1), 4, 24, 28, generator=torch.Generator().manual_seed(3)) * 3
    plan = Plan.of(SD, torch.empty(0), asked, x)
    found = Denoiser(run_unet, SD, plan=plan).predict(x, SIGMA, asked)
    for name, prediction in zip(names, found, strict=True):
        expected = RESULTS[f"{case['name']}.{name}"]
        assert (prediction[:, 1] - expected).abs().max() <= 2e-5 * expected.abs().max()
