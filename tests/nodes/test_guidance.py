"""Guiders, changes to guidance and ways of training, against what ComfyUI 0.3.64 samples from the same toy model.

The dynamic thresholding is that of the extension of this name, run in the same place.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffusion.config import LATENT_SCALE
from diffusion.sampling.sample import sample_custom
from diffusion.sampling.samplers import Sampler, sampler_with
from diffusion.sampling.samplers.euler_pp import euler_pp
from diffusion.types import Latent
from tests.nodes.toys import call, gaussian, toy_latent, toy_model

DATA = Path(__file__).parents[1] / "data" / "guidance"
CASES: list[dict[str, Any]] = json.loads((DATA / "cases.json").read_text())
RESULTS = load_file(DATA / "results.safetensors")
SIGMAS = [14.614642, 6.0, 2.5, 1.0, 0.3, 0.0]
CFG = ("CFGGuider", {"positive": "@positive", "negative": "@negative", "cfg": 6.5})


def sampled(case: dict[str, Any]) -> Tensor:
    model = toy_model()
    for name, inputs in case.get("patches", []):
        model = call(name, model=model, **inputs)
    guider, inputs = case.get("guider", CFG)
    batch, named = case.get("batch", 2), case.get("sampler", "euler")
    latent = toy_latent(batch)
    if case.get("mask"):
        latent = Latent(latent.samples, (torch.arange(30).reshape(1, 1, 6, 5) / 29).expand(batch, 1, 6, 5))
    result = sample_custom(
        call(guider, model=model, **inputs),
        Sampler(euler_pp) if named == "euler_pp" else sampler_with(named),
        torch.tensor(case.get("sigmas", SIGMAS)),
        noise=gaussian(batch, 3),
        latent=latent,
        seed=5,
    )
    return result.samples * LATENT_SCALE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_agrees(case: dict[str, Any]) -> None:
    expected = RESULTS[case["name"]]
    difference = (sampled(case) - expected).abs().max() / expected.abs().max()
    assert difference < 2e-5


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.get("patches")], ids=lambda case: case["name"]
)
def test_a_patch_leaves_its_model_as_it_was(case: dict[str, Any]) -> None:
    name, inputs = case["patches"][0]
    model = toy_model()
    before = (model.guidance, model.schedule, model.prediction, model.mask_rule)
    call(name, model=model, **inputs)
    assert (model.guidance, model.schedule, model.prediction, model.mask_rule) == before
