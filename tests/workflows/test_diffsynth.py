"""DiffSynth-Studio's options as a workflow, run; and the page that maps them, held to it."""

import pytest

from cli.overrides import with_overrides
from graph import Executor, Folders, Workflow, validate
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.workflows.option_pages import commands, rows
from tests.workflows.test_workflows import ROOT, picture_of, pixels_of, prompt_of

PAGE = ROOT / "docs" / "diffsynth.md"
CALL = {
    "prompt": None,
    "negative_prompt": None,
    "cfg_scale": 7.5,
    "height": 512,
    "width": 512,
    "seed": None,
    "rand_device": "cpu",
    "num_inference_steps": 50,
    "eta": 0.0,
    "guidance_rescale": 0.0,
}
"""What the pipeline is called with, and its defaults; None where the page need not repeat them."""
PARTS = ("UNet", "text encoder", "VAE")
MODELS = {"unet", "text_encoder", "vae", "tokenizer_config"} | {
    f"{what} of the {part}"
    for part in PARTS
    for what in ("onload_dtype", "computation_dtype", "computation_device")
}
IN_TEXT = ("torch_dtype", "device", "vram_limit", "offload_device", "progress_bar_cmd")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(
        models=(ROOT / "models",), input=ROOT / "input", output=results / "output", temp=results / "temp"
    )
    return Executor(REGISTRY, folders=folders)


def workflow() -> Workflow:
    return Workflow.from_json((ROOT / "workflows" / "diffsynth.json").read_text())


def test_the_picture_shows_what_the_prompt_says(executor: Executor) -> None:
    assert check_picture(picture_of(executor, "diffsynth"), prompt_of("diffsynth")).right


@pytest.mark.parametrize(
    "change",
    [{"_7_multiplier": 0.7}, {"_10_eta": 1.0}, {"_9_noise_seed": 1}, {"_2_storage_dtype": "fp8_e5m2"}],
)
def test_each_option_changes_the_picture(executor: Executor, change: dict[str, object]) -> None:
    plain = pixels_of(picture_of(executor, "diffsynth", _11_steps=3))
    changed = pixels_of(picture_of(executor, "diffsynth", _11_steps=3, **change))
    assert abs(changed - plain).max() > 0.004


def test_the_page_maps_every_option(executor: Executor) -> None:
    known = workflow()
    calls, models = rows(PAGE, "The pipeline's call"), rows(PAGE, "Its models")
    assert {row.option for row in calls} == set(CALL)
    assert {row.option for row in models} == MODELS
    for row in (*calls, *models):
        node_id, changed = row.carried_out(known, executor.folders)
        if row.default != "none":
            assert str(changed.nodes[node_id].inputs[row.input]) == row.default
    assert {row.option: row.default for row in calls if CALL[row.option] is not None} == {
        name: str(value) for name, value in CALL.items() if value is not None
    }


def test_the_page_says_where_the_other_options_went() -> None:
    text = PAGE.read_text()
    assert [option for option in IN_TEXT if f"`{option}" not in text] == []


def test_the_command_on_the_page_is_accepted(executor: Executor) -> None:
    ((path, settings),) = commands(PAGE)
    changed = with_overrides(Workflow.from_json((ROOT / path).read_text()), REGISTRY, settings, None)
    assert validate(changed, REGISTRY, executor.folders) == []
