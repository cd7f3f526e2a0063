"""The workflows about pictures, each run as it stands, its result checked by program."""

import json

import numpy as np
import pytest
import torch

from cli.workflow_file import read_workflow_file
from diffusion.types import Image
from graph import Executor, Folders, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.diffusion.test_upscaler import Weights, plain_rrdb, random_rrdb
from tests.pictures import read_picture
from tests.workflows.brought import BROUGHT
from tests.workflows.test_workflows import ROOT, picture_of, pixels_of, prompt_of, run


@pytest.fixture(scope="module")
def esrgan() -> Weights:
    """Those of a small random ESRGAN that makes pictures of middling colours, by Real-ESRGAN's keys."""
    weights = random_rrdb()
    weights["conv_last.weight"] *= 20
    weights["conv_last.bias"] += 0.5
    return weights


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory, esrgan: Weights) -> Executor:
    models, results = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("results")
    file = models / BROUGHT["upscale_model"]
    file.parent.mkdir()
    torch.save({"params_ema": esrgan}, file)
    folders = Folders(
        models=(ROOT / "models", models),
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


def test_an_upscale_model_enlarges_the_picture(executor: Executor, esrgan: Weights) -> None:
    workflow = Workflow.from_json((ROOT / "workflows" / "upscale_model.json").read_text())
    small: Image = executor.run(workflow, targets=["6"]).values["6"][0]
    expected = plain_rrdb(esrgan, small.movedim(-1, 1), doublings=2, unshuffle=1)[0].movedim(0, -1).numpy()
    larger = pixels_of(picture_of(executor, "upscale_model"))
    assert larger.shape == (512, 512, 3)
    assert expected.std() > 0.05
    assert np.abs(larger - expected).max() < 0.005


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
