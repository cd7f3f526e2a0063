"""The workflows of the safety checker and the watermark: the checker made here, verdicts and text read by others."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from imwatermark import WatermarkDecoder
from safetensors.torch import save_file

from diffusion.types import Image
from graph import Executor, Folders, Link, RunResult, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.nodes.test_safety import clip_input, embeddings, published_layout, random_checker
from tests.workflows.brought import BROUGHT
from tests.workflows.test_workflows import ROOT, pixels_of, prompt_of, run

NEVER = 2.0
"""A limit that no cosine passes."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(models=(ROOT / "models", models), input=ROOT / "input", output=results, temp=results)
    return Executor(REGISTRY, folders=folders)


@pytest.fixture(scope="module")
def drawn(executor: Executor) -> Image:
    """The two pictures of safety_checker.json before they are checked; no checker is needed for that."""
    workflow = Workflow.from_json((ROOT / "workflows" / "safety_checker.json").read_text())
    result = executor.run(workflow, targets=["6"])
    assert result.errors == ()
    pictures: Image = result.values["6"][0]
    return pictures


@pytest.fixture(scope="module")
def checker(models: Path, drawn: Image) -> StableDiffusionSafetyChecker:
    """A small random one, put where the workflow has it, with a limit between the two pictures."""
    made = random_checker()
    with torch.no_grad():
        cosines = F.normalize(embeddings(made, drawn)) @ F.normalize(made.concept_embeds).T
        concept = int((cosines[0] - cosines[1]).abs().argmax())
        made.concept_embeds_weights.fill_(NEVER)
        made.concept_embeds_weights[concept] = cosines[:, concept].mean()
        made.special_care_embeds_weights.fill_(NEVER)
    file = models / BROUGHT["safety_checker"]
    file.parent.mkdir()
    save_file(published_layout(made), file)
    return made


def saved(executor: Executor, result: RunResult) -> list[np.ndarray]:
    return [pixels_of(executor.folders.output / shown["filename"]) for shown in result.ui["9"]["images"]]


def test_the_flagged_picture_is_replaced_and_the_other_is_not(
    executor: Executor, drawn: Image, checker: StableDiffusionSafetyChecker
) -> None:
    expected, flags = checker(clip_input(drawn), drawn.clone())
    assert sorted(flags) == [False, True]
    result = run(executor, "safety_checker")
    for picture, wanted, flagged in zip(saved(executor, result), expected, flags, strict=True):
        assert np.abs(picture - wanted.numpy()).max() < 0.005
        assert (picture.max() == 0) == flagged
    assert result.ui["10"]["text"] == ["true" if flagged else "false" for flagged in flags]
    said = result.ui["8"]["text"]
    assert ["flagged and replaced (black)" in text for text in said] == flags


@pytest.mark.usefixtures("checker")
def test_an_adjustment_lets_both_pass(executor: Executor, drawn: Image) -> None:
    result = run(executor, "safety_checker", _8_adjustment=-1.0)
    assert np.abs(np.stack(saved(executor, result)) - drawn.numpy()).max() < 0.005
    assert result.ui["10"]["text"] == ["false", "false"]


def test_the_watermark_is_in_the_saved_picture_and_is_not_seen(executor: Executor) -> None:
    result = run(executor, "watermark")
    path = executor.folders.output / result.ui["9"]["images"][0]["filename"]
    picture = cv2.imread(str(path))
    assert WatermarkDecoder("bytes", 8 * 17).decode(picture, "dwtDct") == b"StableDiffusionV1"
    assert result.ui["11"]["text"] == ["StableDiffusionV1"]
    assert result.ui["12"]["text"] == ["true"]
    assert check_picture(path, prompt_of("watermark")).right


def test_without_the_watermark_none_is_read(executor: Executor) -> None:
    result = run(executor, "watermark", _10_images=Link("7"))
    assert result.ui["11"]["text"] != ["StableDiffusionV1"]
    assert result.ui["12"]["text"] == ["false"]
