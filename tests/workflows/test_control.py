"""The ControlNet workflow, its network made here: no trained one is small enough to come along."""

import json

import numpy as np
import pytest
from safetensors.torch import save_file

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.config import ControlNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.runtime import Runtime
from graph import Executor, Folders
from nodes import REGISTRY
from tests.diffusion.reference import random_weights
from tests.pictures import read_picture
from tests.workflows.brought import BROUGHT
from tests.workflows.test_workflows import ROOT, pixels_of, run

FACTS = {"weft.facts": json.dumps({"unet": {"num_heads": 8, "norm_groups": 32}})}
READING = "input_hint_block."


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    """With a random network under the name that the workflow has, what it reads in the picture made loud."""
    models, results = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("results")
    tiny = load_checkpoint(ROOT / "models" / "checkpoints" / "weft-tiny.safetensors", Runtime()).model
    weights = random_weights(lambda: ControlNet(ControlNetConfig(tiny.config)))
    file = models / BROUGHT["controlnet"]
    file.parent.mkdir()
    save_file(
        {key: tensor * (2 if key.startswith(READING) else 1) for key, tensor in weights.items()}, file, FACTS
    )
    folders = Folders(
        models=(ROOT / "models", models),
        input=ROOT / "input",
        output=results / "output",
        temp=results / "temp",
    )
    return Executor(REGISTRY, folders=folders)


def drawn(executor: Executor, **changes: object) -> np.ndarray:
    shown = run(executor, "controlnet", **changes).ui["7"]["images"][0]
    return pixels_of(executor.folders.output / shown["filename"])


@pytest.mark.slow
def test_a_picture_leads_what_is_drawn(executor: Executor) -> None:
    led, plain = drawn(executor), drawn(executor, _11_strength=0.0)
    assert np.abs(led - plain).mean() > 0.01
    assert np.abs(drawn(executor, _9_image="half-painted.png") - led).mean() > 0.01
    (thing,) = read_picture(plain).things
    assert (thing.colour, thing.shape) == ("green", "circle")


def test_at_strength_0_it_is_the_picture_without_a_network(executor: Executor) -> None:
    unled = run(executor, "txt2img", _2_text="a green circle on a yellow background").ui["7"]["images"][0]
    without = pixels_of(executor.folders.output / unled["filename"])
    assert np.array_equal(drawn(executor, _11_strength=0.0), without)


def test_what_leads_is_the_edge_of_the_circle(executor: Executor) -> None:
    shown = run(executor, "controlnet").ui["12"]["images"][0]
    edges = pixels_of(executor.folders.temp / shown["subfolder"] / shown["filename"])
    assert set(np.unique(edges)) == {0.0, 1.0}
    (circle,) = read_picture(pixels_of(ROOT / "input" / "red-circle.png")).things
    rows, columns = np.nonzero(edges[..., 0])
    distances = np.hypot(columns / 128 - circle.x, rows / 128 - circle.y)
    assert distances.std() < 0.02 < 0.1 < distances.mean()
