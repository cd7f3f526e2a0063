"""The workflows of custom sampling on the tiny checkpoint, their pictures read by program."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from graph import Executor, Folders, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import Pixels, Reading, read_picture

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(models=(ROOT / "models",), input=ROOT / "input", output=results, temp=results / "temp")
    return Executor(REGISTRY, folders=folders)


def workflow(name: str) -> dict[str, Any]:
    nodes: dict[str, Any] = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
    return nodes


def picture_of(executor: Executor, nodes: dict[str, Any]) -> Path:
    result = executor.run(Workflow.from_json(json.dumps(nodes)))
    assert result.errors == ()
    (shown,) = (image for ui in result.ui.values() for image in ui.get("images", ()))
    return executor.folders.output / shown["subfolder"] / shown["filename"]


def pixels_of(path: Path) -> Pixels:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float64) / 255


def read(path: Path) -> Reading:
    return read_picture(pixels_of(path))


def test_a_run_shared_by_two_samplers_shows_what_the_prompt_says(executor: Executor) -> None:
    nodes = workflow("custom_sampling")
    assert check_picture(picture_of(executor, nodes), nodes["2"]["inputs"]["text"]).right


@pytest.mark.parametrize(("source", "differs"), [("11", True), ("4", False)])
def test_all_noise_reaches_the_second_sampler_through_the_first(
    executor: Executor, source: str, differs: bool
) -> None:
    nodes = workflow("custom_sampling")
    nodes["14"]["inputs"]["latent_image"] = [source, 0]
    first = pixels_of(picture_of(executor, nodes))
    nodes["9"]["inputs"]["noise_seed"] += 1
    other = pixels_of(picture_of(executor, nodes))
    assert (np.abs(first - other).mean() > 0.005) == differs


def test_perp_neg_changes_the_colour_and_keeps_what_both_prompts_share(executor: Executor) -> None:
    nodes = workflow("perp_neg")
    reading = read(picture_of(executor, nodes))
    assert reading.background == "blue"
    assert reading.things[0].shape == "star"
    assert reading.things[0].colour != "gray"


def test_without_the_negative_prompt_the_star_is_gray(executor: Executor) -> None:
    nodes = workflow("perp_neg")
    nodes["6"]["inputs"]["neg_scale"] = 0.0
    reading = read(picture_of(executor, nodes))
    assert (reading.background, reading.things[0].colour, reading.things[0].shape) == ("blue", "gray", "star")


def test_plain_guidance_away_from_the_negative_prompt_loses_the_background_that_both_share(
    executor: Executor,
) -> None:
    nodes = workflow("perp_neg")
    kept = {key: nodes["6"]["inputs"][key] for key in ("model", "positive", "negative", "cfg")}
    nodes["6"] |= {"class_type": "CFGGuider", "inputs": kept}
    assert read(picture_of(executor, nodes)).background != "blue"
