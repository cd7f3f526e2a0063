"""The workflows of the original scripts, run; and the page that maps their options, held to them."""

from pathlib import Path

import pytest
from PIL import Image as Pillow

from cli.overrides import with_overrides
from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.runtime import Runtime
from diffusion.text.encode import encode
from diffusion.text.literal import encode_literally
from graph import Executor, Folders, Workflow, validate
from nodes import REGISTRY
from tests.adherence import CHECKPOINT, check_picture
from tests.workflows.option_pages import commands, rows
from tests.workflows.test_workflows import ROOT

PAGE = ROOT / "docs" / "original-scripts.md"
TXT2IMG = {
    "--prompt": "a painting of a virus monster playing guitar",
    "--from-file": None,
    "--n_iter": 2,
    "--n_samples": 3,
    "--seed": 42,
    "--fixed_code": False,
    "--scale": 7.5,
    "--H": 512,
    "--W": 512,
    "--C": 4,
    "--f": 8,
    "--ddim_steps": 50,
    "--ddim_eta": 0.0,
    "--plms": False,
    "--skip_save": False,
    "--skip_grid": False,
    "--n_rows": 0,
    "--outdir": "txt2img-samples",
    "--ckpt": None,
}
"""The options that the scripts declare, and their defaults; None where a file is named."""
IMG2IMG = {
    name: value
    for name, value in TXT2IMG.items()
    if name not in ("--fixed_code", "--H", "--W", "--C", "--f", "--plms")
} | {
    "--init-img": None,
    "--strength": 0.75,
    "--scale": 5.0,
    "--n_iter": 1,
    "--n_samples": 2,
    "--outdir": "img2img-samples",
}
IN_TEXT = ("--precision", "--config", "--laion400m", "--dpm_solver")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    results = tmp_path_factory.mktemp("results")
    return Folders(
        models=(ROOT / "models",), input=ROOT / "input", output=results / "output", temp=results / "temp"
    )


def workflow(script: str) -> Workflow:
    return Workflow.from_json((ROOT / "workflows" / f"compvis_{script}.json").read_text())


def run(script: str, folders: Folders, *settings: str) -> Path:
    """Run the script's workflow; the folder of its results."""
    changed = with_overrides(workflow(script), REGISTRY, (f"Save.outdir={script}", *settings), None)
    result = Executor(REGISTRY, folders=folders).run(changed)
    assert result.errors == ()
    return folders.output / script


@pytest.mark.slow
def test_txt2img_saves_samples_and_a_grid_that_show_the_prompt(folders: Folders) -> None:
    out = run("txt2img", folders, "Prompts.n_iter=1", "Prompts.n_samples=2", "Sampler.plms=true")
    samples = sorted((out / "samples").iterdir())
    assert [path.name for path in samples] == ["00000.png", "00001.png"]
    prompt = "a red circle on a white background"
    assert sum(check_picture(path, prompt).right for path in samples) == 2
    with Pillow.open(out / "grid-0000.png") as grid:
        assert grid.size == (2 * 130 + 2, 130 + 2)


@pytest.mark.slow
def test_every_line_of_a_file_gets_its_picture(folders: Folders) -> None:
    settings = (
        "Sampler.ddim_steps=20",
        "Prompts.from_file=prompts.txt",
        "Prompts.n_samples=4",
        "Prompts.n_iter=1",
        "Save.skip_grid=true",
    )
    out = run("txt2img", folders, "Save.outdir=file", *settings).with_name("file")
    lines = (ROOT / "input" / "prompts.txt").read_text().splitlines()
    samples = sorted((out / "samples").iterdir())
    assert len(samples) == len(lines)
    right = [check_picture(path, line).right for path, line in zip(samples, lines, strict=True)]
    assert sum(right) >= len(lines) - 1
    assert not list(out.glob("grid*"))


def test_img2img_changes_the_colour(folders: Folders) -> None:
    samples = sorted((run("img2img", folders) / "samples").iterdir())
    assert len(samples) == 2
    assert any(check_picture(path, "a blue circle on a white background").right for path in samples)


def test_prompts_are_plain_text_cut_off_after_75_tokens() -> None:
    clip = load_checkpoint(CHECKPOINT, Runtime()).clip
    texts = ["a red circle on a white background", "a blue square"]
    (both,) = encode_literally(clip, texts).entries
    for row, text in enumerate(texts):
        (alone,) = encode(clip, text).entries
        assert float((both.embedding[row] - alone.embedding[0]).abs().max()) < 1e-4
    (weighted,) = encode_literally(clip, ["a (red:1.5) circle"]).entries
    (escaped,) = encode(clip, r"a \(red:1.5\) circle").entries
    assert float((weighted.embedding - escaped.embedding).abs().max()) < 1e-4
    (long,) = encode_literally(clip, ["a red circle " * 60]).entries
    assert long.embedding.shape[1] == clip.config.positions
    with pytest.raises(ValueError, match="no prompt"):
        encode_literally(clip, [])


@pytest.mark.parametrize(("script", "options"), [("txt2img", TXT2IMG), ("img2img", IMG2IMG)])
def test_the_page_maps_every_option(script: str, options: dict[str, object], folders: Folders) -> None:
    known = workflow(script)
    table = rows(PAGE, f"{script}.py")
    assert {row.option for row in table} == set(options)
    for row in table:
        node_id, changed = row.carried_out(known, folders)
        expected = options[row.option]
        if expected is None:
            assert row.default == "none"
            continue
        shown = row.default.removesuffix(" (set in the workflow)")
        in_workflow = shown != row.default
        held = (known.nodes[node_id].inputs if in_workflow else REGISTRY[row.class_type].defaults)[row.input]
        assert (changed.nodes[node_id].inputs[row.input], held) == (expected, expected), row
        assert shown == (str(expected).lower() if isinstance(expected, bool) else str(expected))


def test_the_page_says_where_the_other_options_went() -> None:
    text = PAGE.read_text()
    assert [option for option in IN_TEXT if f"`{option}" not in text] == []


def test_the_commands_on_the_page_are_accepted(folders: Folders) -> None:
    assert len(commands(PAGE)) == 2
    for path, settings in commands(PAGE):
        changed = with_overrides(Workflow.from_json((ROOT / path).read_text()), REGISTRY, settings, None)
        faults = {fault.input for fault in validate(changed, REGISTRY, folders)}
        assert faults <= {"ckpt_name", "image"}, "the user's own files are all that is missing"
