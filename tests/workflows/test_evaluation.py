"""The model card's evaluation, on the tiny checkpoint with few steps."""

import numpy as np
import pytest

from graph import Executor, Folders
from nodes import REGISTRY
from tests.workflows.test_workflows import ROOT, pixels_of, run


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(
        models=(ROOT / "models",), input=ROOT / "input", output=results / "output", temp=results / "temp"
    )
    return Executor(REGISTRY, folders=folders)


def test_a_curve_for_each_sampler_over_the_scales(executor: Executor) -> None:
    result = run(executor, "evaluation", _2_count=1, _3_scales="1.5, 8", _7_steps=3)
    (shown,) = result.ui["11"]["images"]
    picture = pixels_of(executor.folders.output / shown["filename"])
    assert picture.shape == (480, 640, 3)
    for colour in ((31, 119, 180), (214, 39, 40)):
        assert (np.abs(picture * 255 - colour) < 2).all(axis=-1).sum() > 20
