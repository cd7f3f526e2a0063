"""The workflows that come along, each run as it stands, its picture checked by program."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from graph import Executor, Folders, RunResult, Workflow, validate
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import read_picture
from tests.workflows.brought import with_what_is_brought

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    results = tmp_path_factory.mktemp("results")
    return Folders(
        models=(ROOT / "models",), input=ROOT / "input", output=results / "output", temp=results / "temp"
    )


@pytest.fixture(scope="module")
def executor(folders: Folders) -> Executor:
    return Executor(REGISTRY, folders=folders)


def run(executor: Executor, name: str, **changes: object) -> RunResult:
    """Run workflows/`name`.json; each change is `node_input=value`, by the node's id."""
    workflow = Workflow.from_json((ROOT / "workflows" / f"{name}.json").read_text())
    for target, value in changes.items():
        node, _, input_name = target.removeprefix("_").partition("_")
        workflow = workflow.with_input(node, input_name, value)
    result = executor.run(workflow)
    assert result.errors == ()
    return result


def picture_of(executor: Executor, name: str, **changes: object) -> Path:
    result = run(executor, name, **changes)
    (shown,) = (image for ui in result.ui.values() for image in ui.get("images", ()))
    return executor.folders.output / shown["subfolder"] / shown["filename"]


def pixels_of(path: Path) -> np.ndarray:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float64) / 255


def prompt_of(name: str) -> str:
    nodes = json.loads((ROOT / "workflows" / f"{name}.json").read_text()).values()
    return next(node["inputs"]["text"] for node in nodes if node["_meta"]["title"] == "Prompt")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_workflow_is_valid(path: Path, folders: Folders, tmp_path: Path) -> None:
    complete = with_what_is_brought(folders, path.stem, tmp_path)
    assert validate(Workflow.from_json(path.read_text()), REGISTRY, complete) == []


@pytest.mark.parametrize("name", ["txt2img", "img2img", "inpaint"])
def test_picture_shows_what_the_prompt_says(executor: Executor, name: str) -> None:
    assert check_picture(picture_of(executor, name), prompt_of(name)).right


def test_a_changed_prompt_changes_the_picture(executor: Executor) -> None:
    prompt = "a green triangle on a white background"
    assert check_picture(picture_of(executor, "txt2img", _2_text=prompt), prompt).right


def test_same_seed_same_pixels_another_seed_others(executor: Executor, folders: Folders) -> None:
    first = pixels_of(picture_of(executor, "txt2img"))
    again = pixels_of(picture_of(Executor(REGISTRY, folders=folders), "txt2img"))
    other = pixels_of(picture_of(executor, "txt2img", _5_seed=8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_img2img_keeps_the_place_and_changes_the_colour(executor: Executor) -> None:
    (start,) = read_picture(pixels_of(ROOT / "input" / "red-circle.png")).things
    (result,) = read_picture(pixels_of(picture_of(executor, "img2img"))).things
    assert (start.colour, result.colour) == ("red", "blue")
    assert abs(start.x - result.x) < 0.08
    assert abs(start.y - result.y) < 0.08


def test_inpaint_changes_only_what_was_transparent(executor: Executor) -> None:
    start = pixels_of(ROOT / "input" / "half-painted.png")
    result = pixels_of(picture_of(executor, "inpaint"))
    kept = np.abs(result - start)[:, :56].mean()
    painted = np.abs(result - start)[:, 80:112].mean()
    assert kept < 0.03 < 0.08 < painted


def test_the_lora_draws_an_outline(executor: Executor) -> None:
    def ink(**changes: object) -> float:
        return float((pixels_of(picture_of(executor, "lora", **changes)).max(axis=-1) < 0.35).mean())

    assert ink(_8_strength_model=0.0) < 0.001
    assert ink() > 0.02


def test_a_picture_carries_the_workflow_that_makes_it_again(executor: Executor, folders: Folders) -> None:
    path = picture_of(executor, "txt2img")
    with Pillow.open(path) as picture:
        carried = picture.info["prompt"]
    assert json.loads(carried) == json.loads((ROOT / "workflows" / "txt2img.json").read_text())
    again = Executor(REGISTRY, folders=folders).run(Workflow.from_json(carried))
    saved = folders.output / again.ui["7"]["images"][0]["filename"]
    assert saved != path
    assert np.array_equal(pixels_of(saved), pixels_of(path))


def test_a_changed_seed_samples_anew_and_encodes_nothing(executor: Executor) -> None:
    run(executor, "txt2img")
    result = run(executor, "txt2img", _5_seed=99)
    assert set(result.timings) == {"5", "6", "7"}
