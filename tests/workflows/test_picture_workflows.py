"""The workflows about pictures, each run as it stands, its result checked by program."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cli.workflow_file import read_workflow_file
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from graph import Executor, Folders, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import read_picture
from tests.workflows.test_workflows import ROOT, picture_of, pixels_of, prompt_of, run


@pytest.fixture(scope="module")
def nearest_upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with an upscale model whose detail is nothing, so that it repeats each pixel 4 times a side."""
    root = tmp_path_factory.mktemp("models")
    (root / "upscale_models").mkdir()
    weights = CompactNet(CompactConfig(width=16, convolutions=1, scale=4)).state_dict()
    save_file(
        {key: torch.zeros_like(tensor) for key, tensor in weights.items()},
        root / "upscale_models" / "nearest.safetensors",
    )
    return root


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory, nearest_upscaler: Path) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(
        models=(ROOT / "models", nearest_upscaler),
        input=ROOT / "input",
        output=results / "output",
        temp=results / "temp",
    )
    return Executor(REGISTRY, folders=folders)


def test_outpainting_goes_on_beside_the_picture(executor: Executor) -> None:
    start = pixels_of(ROOT / "input" / "red-circle.png")
    result = pixels_of(picture_of(executor, "outpaint"))
    assert result.shape == (128, 192, 3)
    assert np.abs(result[:, :112] - start[:, :112]).max() < 0.005
    things = {(thing.colour, thing.shape): thing for thing in read_picture(result).things}
    assert set(things) == {("red", "circle"), ("blue", "star")}
    assert things["blue", "star"].x > 128 / 192
    assert (np.abs(result[:, 128:] - 0.5).max(axis=-1) > 0.1).all(), "nothing of the grey canvas is left"


def test_upscaling_enlarges_and_sharpens(executor: Executor) -> None:
    soft = pixels_of(picture_of(executor, "upscale", _8_alpha=0.0))
    path = picture_of(executor, "upscale")
    crisp = pixels_of(path)
    assert crisp.shape == (512, 512, 3)
    assert check_picture(path, prompt_of("upscale")).right
    carried, _ = read_workflow_file(path)
    assert path.suffix == ".webp"
    assert json.loads(carried) == json.loads((ROOT / "workflows" / "upscale.json").read_text())
    assert np.abs(np.diff(crisp, axis=1)).max() > 1.2 * np.abs(np.diff(soft, axis=1)).max()


def test_an_upscale_model_takes_the_place_of_plain_scaling(executor: Executor) -> None:
    nodes = json.loads((ROOT / "workflows" / "upscale.json").read_text())
    small = {
        **nodes,
        "8": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "s"}},
    }
    nodes["7"] = {
        "class_type": "ImageUpscaleWithModel",
        "inputs": {"upscale_model": ["10", 0], "image": ["6", 0]},
    }
    nodes["8"] = {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "l"}}
    nodes["10"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "nearest.safetensors"}}
    del nodes["9"], small["9"], small["7"]
    pictures = []
    for workflow in (small, nodes):
        result = executor.run(Workflow.from_json(workflow))
        assert result.errors == ()
        pictures.append(pixels_of(executor.folders.output / result.ui["8"]["images"][0]["filename"]))
    assert np.array_equal(pictures[0].repeat(4, axis=0).repeat(4, axis=1), pictures[1])


def test_a_drawn_star_is_cut_out_and_laid_on_a_picture(executor: Executor) -> None:
    shown = run(executor, "composite").ui
    both, grid = (
        pixels_of(executor.folders.output / shown[node]["images"][0]["filename"]) for node in ("18", "19")
    )
    things = {(thing.colour, thing.shape): thing for thing in read_picture(both).things}
    assert set(things) == {("red", "circle"), ("yellow", "star")}
    assert things["yellow", "star"].x > 0.6
    assert things["yellow", "star"].y > 0.6
    assert grid.shape == (256 + 2 * 4, 3 * 256 + 4 * 4, 3)
    assert np.array_equal(grid[4:260, 524:780], both)
    assert (grid[:4] == 1).all()
