"""Workflows that need a file of the user's: what they say without it, and a model folder that is brought."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from cli.arguments import parse
from cli.commands import BAD_INPUT, run_file
from cli.overrides import with_overrides
from graph import Executor, Folders, Workflow, validate
from nodes import REGISTRY
from tests.diffusion.checkpoint_samples import diffusers_folder, original, write
from tests.pictures import Pixels
from tests.workflows.brought import BROUGHT, with_what_is_brought
from tests.workflows.option_pages import commands
from tests.workflows.test_workflows import ROOT, WORKFLOWS, pixels_of

PAGE = ROOT / "docs" / "features.md"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A place with the tiny checkpoint and no other model, whatever this machine has."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "checkpoints").symlink_to(ROOT / "models" / "checkpoints")
    (tmp_path / "input").symlink_to(ROOT / "input")
    return tmp_path


@pytest.mark.parametrize("name", BROUGHT)
def test_without_its_file_a_workflow_names_it_and_its_folder(
    name: str, bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.commands._home", lambda: bare)
    path = ROOT / "workflows" / f"{name}.json"
    assert run_file(parse(["--run", str(path)]), path, threading.Event) == BAD_INPUT
    said = capsys.readouterr().err
    folder, file = BROUGHT[name].split("/")[:2]
    assert "it has 1 fault:" in said
    assert f"found '{file}', expected a file in the folder {folder}, but there are none." in said


def test_the_page_names_every_such_file() -> None:
    text = PAGE.read_text()
    for name, file in BROUGHT.items():
        shown = file.removesuffix("model_index.json")
        assert any(line.startswith(f"| {name}.json | `models/{shown}`") for line in text.splitlines())
    assert {path.stem for path in WORKFLOWS} >= set(BROUGHT)


def test_the_command_on_the_page_is_accepted(bare: Path) -> None:
    ((path, settings),) = commands(PAGE)
    folders = with_what_is_brought(
        Folders(models=(bare / "models",), input=bare / "input"), Path(path).stem, bare / "brought"
    )
    changed = with_overrides(Workflow.from_json((ROOT / path).read_text()), REGISTRY, settings, None)
    assert [fault.input for fault in validate(changed, REGISTRY, folders)] == ["ckpt_name"], (
        "the user's checkpoint is all that is missing"
    )


@pytest.mark.slow
def test_a_diffusers_folder_draws_what_the_same_model_draws_out_of_one_file(tmp_path: Path) -> None:
    models = tmp_path / "models"
    diffusers_folder(models / Path(BROUGHT["diffusers_folder"]).parent)
    (models / "checkpoints").mkdir()
    write(models / "checkpoints" / "same.safetensors", original())
    executor = Executor(REGISTRY, folders=Folders(models=(models,), output=tmp_path, temp=tmp_path))

    def drawn(loader: dict[str, object]) -> Pixels:
        """In few steps and small: the networks are random, and their picture is noise."""
        nodes = json.loads((ROOT / "workflows" / "diffusers_folder.json").read_text())
        nodes["1"] |= loader
        nodes["4"]["inputs"] |= {"width": 64, "height": 64}
        nodes["5"]["inputs"]["steps"] = 2
        result = executor.run(Workflow.from_json(json.dumps(nodes)))
        assert result.errors == ()
        return pixels_of(tmp_path / result.ui["7"]["images"][0]["filename"])

    folder = drawn({})
    assert folder.std() > 0.01
    file = drawn({"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "same.safetensors"}})
    assert np.abs(folder - file).max() < 0.005
