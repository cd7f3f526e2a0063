"""Nodes on latents against what ComfyUI (a125cd8) gave for the same inputs: samples, noise masks and batch indices.

tests/data/latents/cases.json lists the calls; the tensors they name lie beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffusion.latents.inpaint import blanked
from diffusion.types import Image, Latent, Mask
from nodes import REGISTRY

DATA = Path(__file__).parents[1] / "data" / "latents"
CASES = json.loads((DATA / "cases.json").read_text())


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, Tensor]:
    return load_file(DATA / "latents.safetensors")


def call(name: str, **inputs: Any) -> Any:
    spec = REGISTRY.get(name)
    assert spec is not None
    return spec.function(**inputs)


def latent(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Latent:
    mask, index = described.get("noise_mask"), described.get("batch_index")
    return Latent(
        tensors[described["samples"]],
        None if mask is None else tensors[mask],
        None if index is None else tuple(index),
    )


def read(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [read(item, tensors) for item in value]
    if isinstance(value, dict) and "class" in value:
        return call(value["class"], **{name: item for name, item in value.items() if name != "class"})
    if isinstance(value, dict):
        return latent(value, tensors)
    return tensors[value] if isinstance(value, str) and value in tensors else value


def results_of(case: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[Latent]:
    inputs = {name: read(value, tensors) for name, value in case["inputs"].items()}
    if case["node"] == "VAEEncodeForInpaint":
        pixels, mask = blanked(Image(inputs["pixels"]), Mask(inputs["mask"]), inputs["grow_mask_by"])
        return [Latent(pixels, mask)]
    if case["node"] == "RebatchLatents":
        inputs["batch_size"] = [inputs["batch_size"]]
    made = call(case["node"], **inputs)
    return made if isinstance(made, list) else [made]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{CASES.index(case)}-{case['node']}")
def test_agreement(case: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    made = results_of(case, tensors)
    assert len(made) == len(case["results"])
    for ours, described in zip(made, case["results"], strict=True):
        theirs = latent(described, tensors)
        torch.testing.assert_close(ours.samples, theirs.samples, rtol=1e-5, atol=1e-5)
        assert ours.batch_index == theirs.batch_index
        assert (ours.noise_mask is None) == (theirs.noise_mask is None)
        if ours.noise_mask is not None and theirs.noise_mask is not None:
            torch.testing.assert_close(ours.noise_mask, theirs.noise_mask)
    assert all(torch.equal(tensors[name], before[name]) for name in before), "an input was written to"
