"""The workflows that merge, change and save models, on the tiny checkpoint."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from graph import Executor, Folders, RunResult, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import Pixels

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    results = tmp_path_factory.mktemp("results")
    # What is saved can be loaded at once.
    models = (ROOT / "models", results)
    return Executor(
        REGISTRY, folders=Folders(models=models, input=ROOT / "input", output=results, temp=results / "temp")
    )


def workflow(name: str) -> dict[str, Any]:
    nodes: dict[str, Any] = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
    return nodes


def in_few_steps(name: str) -> dict[str, Any]:
    """The workflow with as many steps as pictures need to be told apart."""
    nodes = workflow(name)
    nodes["5"]["inputs"]["steps"] = 6
    return nodes


def run(executor: Executor, nodes: dict[str, Any]) -> RunResult:
    result = executor.run(Workflow.from_json(json.dumps(nodes)))
    assert result.errors == ()
    return result


def picture_of(executor: Executor, nodes: dict[str, Any]) -> Path:
    (shown,) = (image for ui in run(executor, nodes).ui.values() for image in ui.get("images", ()))
    return executor.folders.output / shown["subfolder"] / shown["filename"]


def pixels_of(path: Path) -> Pixels:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float64) / 255


@pytest.mark.slow
def test_a_merge_lies_between_its_models(executor: Executor) -> None:
    def drawn(ratio: float) -> Pixels:
        nodes = in_few_steps("merge")
        for node in ("9", "10"):
            nodes[node]["inputs"]["ratio"] = ratio
        return pixels_of(picture_of(executor, nodes))

    def apart(one: Pixels, other: Pixels) -> float:
        return float(np.abs(one - other).mean())

    with_outline, without = drawn(1.0), drawn(0.0)
    merged = drawn(workflow("merge")["9"]["inputs"]["ratio"])
    whole_way = apart(with_outline, without)
    assert 0.1 * whole_way < apart(merged, with_outline) < whole_way
    assert 0.1 * whole_way < apart(merged, without) < whole_way


def test_freeu_keeps_to_the_prompt(executor: Executor) -> None:
    nodes = workflow("freeu")
    assert check_picture(picture_of(executor, nodes), nodes["2"]["inputs"]["text"]).right


@pytest.mark.slow
def test_a_saved_checkpoint_draws_with_the_lora_that_was_on_it_and_so_does_an_extracted_one(
    executor: Executor,
) -> None:
    saved = run(executor, workflow("save")).ui
    (checkpoint,), (lora,) = (saved[node]["models"] for node in ("2", "4"))
    expected = pixels_of(picture_of(executor, in_few_steps("lora")))
    nodes = in_few_steps("lora")
    nodes["1"]["inputs"]["ckpt_name"] = checkpoint["filename"]
    nodes["8"]["inputs"] |= {"strength_model": 0.0, "strength_clip": 0.0}
    assert np.abs(pixels_of(picture_of(executor, nodes)) - expected).mean() < 0.02
    nodes = in_few_steps("lora")
    nodes["8"]["inputs"]["lora_name"] = lora["filename"]
    assert np.abs(pixels_of(picture_of(executor, nodes)) - expected).mean() < 0.02
