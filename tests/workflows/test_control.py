"""A ControlNet workflow, its network made here: no trained one is small enough to come along."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.config import ControlNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.runtime import Runtime
from graph import Executor, Folders, Workflow, validate
from nodes import REGISTRY
from tests.diffusion.reference import random_weights
from tests.workflows.test_workflows import pixels_of

ROOT = Path(__file__).parents[2]
FACTS = {"weft.facts": json.dumps({"unet": {"num_heads": 8, "norm_groups": 32}})}


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    models, results = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("results")
    (models / "controlnet").mkdir()
    tiny = load_checkpoint(ROOT / "models" / "checkpoints" / "weft-tiny.safetensors", Runtime()).model
    weights = random_weights(lambda: ControlNet(ControlNetConfig(tiny.config)))
    save_file(weights, models / "controlnet" / "random.safetensors", FACTS)
    folders = Folders(
        models=(ROOT / "models", models),
        input=ROOT / "input",
        output=results / "output",
        temp=results / "temp",
    )
    return Executor(REGISTRY, folders=folders)


def workflow() -> Workflow:
    """workflows/txt2img.json, led by a picture in the first half of its steps."""
    nodes = json.loads((ROOT / "workflows" / "txt2img.json").read_text())
    nodes["8"] = {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "random.safetensors"}}
    nodes["9"] = {"class_type": "LoadImage", "inputs": {"image": "red-circle.png"}}
    nodes["10"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            "positive": ["2", 0],
            "negative": ["3", 0],
            "control_net": ["8", 0],
            "image": ["9", 0],
            "strength": 0.2,
            "start_percent": 0.0,
            "end_percent": 0.5,
        },
    }
    nodes["5"]["inputs"] |= {"positive": ["10", 0], "negative": ["10", 1], "steps": 4}
    return Workflow.from_json(json.dumps(nodes))


def pixels(executor: Executor, work: Workflow) -> np.ndarray:
    result = executor.run(work)
    assert result.errors == ()
    (shown,) = (image for ui in result.ui.values() for image in ui.get("images", ()))
    return pixels_of(executor.folders.output / shown["subfolder"] / shown["filename"])


def test_a_picture_leads_what_is_drawn(executor: Executor) -> None:
    led = workflow()
    assert validate(led, REGISTRY, executor.folders) == []
    drawn, plain = pixels(executor, led), pixels(executor, led.with_input("10", "strength", 0.0))
    assert np.abs(drawn - plain).mean() > 0.01
    assert np.array_equal(pixels(executor, led.with_input("10", "strength", 0.2)), drawn)


def test_a_network_that_is_not_there_is_found_before_the_run(executor: Executor) -> None:
    faults = validate(
        workflow().with_input("8", "control_net_name", "canny.safetensors"), REGISTRY, executor.folders
    )
    assert [fault.node for fault in faults] == ["8"]
