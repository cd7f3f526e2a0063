"""Whole pictures' worth of sampling at full size, against latents that ComfyUI 0.3.64 made from the same weights.

Each file in tests/data/parity holds a latent and, in its metadata, the workflow that made it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.runtime import Runtime
from diffusion.sampling.sample import sample
from diffusion.text.encode import encode
from diffusion.types import Latent
from tests.diffusion.reference import relative_error

FILES = sorted((Path(__file__).parent.parent / "data" / "parity").glob("*.safetensors"))
SETTINGS = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")


def _settings(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The workflow's nodes by id, and the inputs of its sampler."""
    with safe_open(file, "pt") as content:
        nodes = json.loads(content.metadata()["workflow"])
    (sampler,) = (node["inputs"] for node in nodes.values() if node["class_type"] == "KSampler")
    return nodes, sampler


@pytest.fixture(scope="module")
def checkpoint(full_size_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(full_size_checkpoint, Runtime())


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_latent_equals_the_reference(file: Path, checkpoint: Checkpoint) -> None:
    nodes, settings = _settings(file)
    positive, negative, empty = (
        nodes[settings[name][0]]["inputs"] for name in ("positive", "negative", "latent_image")
    )
    result = sample(
        checkpoint.model,
        positive=encode(checkpoint.clip, positive["text"]),
        negative=encode(checkpoint.clip, negative["text"]),
        latent=Latent(torch.zeros(empty["batch_size"], 4, empty["height"] // 8, empty["width"] // 8)),
        **{name: settings[name] for name in SETTINGS},
    )
    with safe_open(file, "pt") as content:
        expected = content.get_tensor("latent")
    assert relative_error(result.samples, expected) < 1e-5


def test_every_kind_of_sampler_is_covered() -> None:
    """The others are held to that program on a toy: test_samplers_reference; schedulers, test_schedule_reference."""
    assert {
        "euler",  # one model call a step, no noise
        "heun",  # several calls
        "dpmpp_2m",  # earlier predictions
        "euler_ancestral",  # noise of the seed's generator
        "dpmpp_2m_sde",  # noise of a Brownian motion
        "euler_cfg_pp",  # the prediction without the prompt
        "dpm_fast",  # a range of levels of its own
        "uni_pc",  # a schedule without its last level but one
        "ddim",
    } <= {_settings(file)[1]["sampler_name"] for file in FILES}
