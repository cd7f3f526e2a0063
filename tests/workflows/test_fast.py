"""The workflows that trade picture for time: what they draw is still what was asked, and near the exact picture."""

from pathlib import Path

import numpy as np
import pytest

from graph import Executor, Folders
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.workflows.test_workflows import picture_of, pixels_of, prompt_of

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted(path.stem for path in (ROOT / "workflows").glob("fast_*.json"))


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    results = tmp_path_factory.mktemp("fast")
    folders = Folders(models=(ROOT / "models",), output=results / "output", temp=results / "temp")
    return Executor(REGISTRY, folders=folders)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_picture_is_near_the_exact_one(executor: Executor, name: str) -> None:
    fast, exact = picture_of(executor, name), picture_of(executor, "txt2img")
    assert check_picture(fast, prompt_of(name)).right
    error = float(np.square(pixels_of(fast) - pixels_of(exact)).mean())
    assert 0 < error < 0.004, "at least 24 dB, and not the very same"
