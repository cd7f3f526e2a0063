"""The workflows of prompts for parts of the picture, for parts of the run, and with an embedding, read by program."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from graph import Executor, Folders, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import read_picture

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


def halves(executor: Executor, nodes: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The background of each half, with the colours and shapes on it (a seam may leave a trace in its own colour)."""
    with Pillow.open(picture_of(executor, nodes)) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float64) / 255
    readings = [read_picture(half) for half in np.split(pixels, 2, axis=1)]
    found = []
    for reading in readings:
        seen = [(thing.colour, thing.shape) for thing in reading.things if thing.colour != reading.background]
        found.append((reading.background, seen))
    return found


def test_each_half_shows_its_own_prompt(executor: Executor) -> None:
    circle, star = ("white", [("red", "circle")]), ("white", [("blue", "star")])
    assert halves(executor, workflow("regional_prompts")) == [circle, star]


def test_a_prompt_that_changes_early_shows_what_comes_late(executor: Executor) -> None:
    nodes = workflow("prompt_schedule")
    assert check_picture(picture_of(executor, nodes), "a red circle on a yellow background").right
    nodes["2"]["inputs"]["text"] = "a [green:red:0.95] circle on a yellow background"
    assert check_picture(picture_of(executor, nodes), "a green circle on a yellow background").right


def test_and_shows_what_both_prompts_say(executor: Executor) -> None:
    nodes = workflow("prompt_schedule")
    nodes["2"]["inputs"]["text"] = "a circle on a yellow background :0.7 AND a red circle :0.7"
    assert check_picture(picture_of(executor, nodes), "a red circle on a yellow background").right


def test_an_embedding_is_drawn(executor: Executor) -> None:
    expected = "a red star on a blue background"
    assert check_picture(picture_of(executor, workflow("embedding")), expected).right
