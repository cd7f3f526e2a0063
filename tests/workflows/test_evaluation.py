"""The model card's evaluation, on the tiny checkpoint with few steps, and the score of a CLIP made here."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from diffusion.safety.vision import prepared
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Image
from graph import Executor, Folders, Workflow
from nodes import REGISTRY
from tests.diffusion.test_evaluation import random_clip
from tests.workflows.brought import BROUGHT
from tests.workflows.test_workflows import ROOT, pixels_of, run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(
        models=(ROOT / "models", models),
        input=ROOT / "input",
        output=results / "output",
        temp=results / "temp",
    )
    return Executor(REGISTRY, folders=folders)


def test_a_curve_for_each_sampler_over_the_scales(executor: Executor) -> None:
    result = run(executor, "evaluation", _2_count=1, _3_scales="1.5, 8", _7_steps=3)
    (shown,) = result.ui["11"]["images"]
    picture = pixels_of(executor.folders.output / shown["filename"])
    assert picture.shape == (480, 640, 3)
    for colour in ((31, 119, 180), (214, 39, 40)):
        assert (np.abs(picture * 255 - colour) < 2).all(axis=-1).sum() > 20


@pytest.mark.slow
def test_a_score_for_each_picture_is_transformers_cosine(executor: Executor, models: Path) -> None:
    workflow = Workflow.from_json((ROOT / "workflows" / "clip_score.json").read_text())
    drawn: Image = executor.run(workflow, targets=["6"]).values["6"][0]
    tokenizer, clip = Tokenizer.clip(), random_clip()
    ids = tokenizer.encode(workflow.nodes["10"].inputs["value"])
    with torch.no_grad():
        seen = clip(
            input_ids=torch.tensor([[tokenizer.start, *ids, tokenizer.end]]),
            pixel_values=prepared(drawn, 32),
        )
        cosines = F.cosine_similarity(seen.image_embeds, seen.text_embeds)
        # Random halves may point away from each other, and scores end at 0.
        clip.text_projection.weight *= cosines.mean().sign()
    file = models / BROUGHT["clip_score"]
    file.parent.mkdir()
    save_file({key: tensor.contiguous() for key, tensor in clip.state_dict().items()}, file)
    scores = [float(text) for text in run(executor, "clip_score").ui["11"]["text"]]
    assert scores == pytest.approx((cosines * cosines.mean().sign()).tolist(), abs=1e-5)
    assert min(scores) > 0
    assert scores[0] != pytest.approx(scores[1], abs=1e-5)
