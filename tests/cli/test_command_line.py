"""main.py as a person runs it: a process, its output, its exit code, its files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.adherence import check_picture

ROOT = Path(__file__).parents[2]
TXT2IMG = ROOT / "workflows" / "txt2img.json"


def weft(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    output = tmp_path_factory.mktemp("output")
    return output, weft("--run", TXT2IMG, "--output-directory", output)


def test_run_ends_with_the_saved_path(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, done = first_run
    assert done.returncode == 0, done.stderr
    saved = output / "txt2img_00001_.png"
    assert done.stdout == f"{saved}\n"
    prompt = json.loads(TXT2IMG.read_text())["2"]["inputs"]["text"]
    assert check_picture(saved, prompt).right


def test_run_says_how_each_node_went(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = first_run
    for title in ("Load Checkpoint (1)", "Prompt (2)", "KSampler (5)", "Save Image (7)"):
        assert f"{title}: " in done.stderr


def test_the_picture_runs_as_a_workflow_and_its_bytes_come_again(
    first_run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    output, _ = first_run
    done = weft("--run", output / "txt2img_00001_.png", "--output-directory", tmp_path, "--quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    again = Path(done.stdout.strip())
    assert again.read_bytes() == (output / "txt2img_00001_.png").read_bytes()


def test_json_events(tmp_path: Path) -> None:
    done = weft(
        "--run", TXT2IMG, "--json", "--output-directory", tmp_path, "--set", "KSampler.steps=2", "--seed", 5
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["run_started", "run_finished"]
    assert events[-1]["status"] == "success"
    steps = [(event["done"], event["total"]) for event in events if event["event"] == "node_progress"]
    assert steps == [(1, 2), (2, 2)]
    shown = [event["ui"] for event in events if event["event"] == "node_finished" and event["node"] == "7"]
    files = [event["files"] for event in events if "files" in event]
    assert files == [[str(tmp_path / "txt2img_00001_.png")]]
    assert shown == [{"images": [{"filename": "txt2img_00001_.png", "subfolder": "", "type": "output"}]}]


def test_set_and_seed_are_what_the_picture_remembers(tmp_path: Path) -> None:
    prompt = "a blue heart on a white background"
    done = weft(
        "--run", TXT2IMG, "--quiet", "--output-directory", tmp_path,
        "--set", f"Prompt.text={prompt}", "--set", "5.cfg=6.5", "--seed", 11,
    )  # fmt: skip
    saved = Path(done.stdout.strip())
    checked = weft("--validate", saved)
    assert checked.returncode == 0
    assert check_picture(saved, prompt).right
    with Pillow.open(saved) as picture:
        inputs = json.loads(picture.info["prompt"])["5"]["inputs"]
    assert (inputs["cfg"], inputs["seed"]) == (6.5, 11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "nowhere.json"], "there is no file nowhere.json"),
        (["--run", ROOT / "docs"], "can't be read"),
        (["--run", ROOT / "README.md"], "not JSON"),
        (["--run", TXT2IMG, "--set", "KSamplr.steps=3"], "Did you mean 'KSampler'?"),
        (["--run", TXT2IMG, "--set", "KSampler.step=3"], "did you mean 'steps'?"),
        (["--run", TXT2IMG, "--set", "KSampler.steps=many"], "takes a whole number, not 'many'"),
        (["--run", TXT2IMG, "--set", "KSampler.steps=0"], "at least 1"),
        (["--run", TXT2IMG, "--set", "steps"], "NODE.INPUT=VALUE"),
        (["--run", TXT2IMG, "--set", "KSampler.model=[1"], "a link to a MODEL"),
        (
            ["--run", TXT2IMG, "--set", "Load Checkpoint.ckpt_name=weft-tny.safetensors"],
            "weft-tiny.safetensors",
        ),
        (["--run", TXT2IMG, "--set", "KSampler.steps=" + "9" * 5000], "takes a whole number, not '999999"),
        (["--run", TXT2IMG, "--set", 'KSampler.model=["77", 0]'], "a node of this workflow"),
        (["--run", TXT2IMG, "--set", 'KSampler.model=["2", 0]'], "of type CONDITIONING"),
        (["--run", TXT2IMG, "--models", "nowhere"], "--models: there is no folder 'nowhere'"),
        (
            ["--run", TXT2IMG, "--input-directory", "nowhere"],
            "--input-directory: there is no folder 'nowhere'",
        ),
        (["--nodes", "--custom-nodes", "nowhere"], "--custom-nodes: there is no folder 'nowhere'"),
        (["--validate", "/dev/zero"], "/dev/zero is larger than 64 MB"),
        (["--run", TXT2IMG, "--device", "cuda:99"], "no such device"),
        (["--run", TXT2IMG, "--set", "CLIPTextEncode.text=x"], "2 nodes are a CLIPTextEncode"),
        (["--run", TXT2IMG, "--set", "Nobody.text=x"], "There are: 1 Load Checkpoint, 2 Prompt"),
        (["--run", TXT2IMG, "--set", "Save Image.filename_prefix=../x"], "outside the folder for results"),
        (["--run", TXT2IMG, "--output-directory", "/proc/x"], "can't be written to"),
        (["--run", TXT2IMG, "--models", ROOT / "models" / "checkpoints"], "name the folder above"),
        (["--run", TXT2IMG, "--device", "toaster"], "unknown device"),
        (["--run", TXT2IMG, "--dtype", "fp16", "--device", "cpu"], "bf16 or fp32"),
        (["--validate", TXT2IMG, "--set", "KSampler.sampler_name=eulr"], "'euler'"),
        (["--nodes", "KSamplr"], "did you mean 'KSampler'?"),
        (["--run"], "expected one argument"),
        ([], "required"),
    ],
    ids=str,
)
def test_bad_input_is_code_2_and_says_what_to_do(arguments: list[object], message: str) -> None:
    done = weft(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_node_that_fails_is_code_1_and_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "checkpoints", tmp_path / "models" / "checkpoints")
    (tmp_path / "models" / "checkpoints" / "broken.safetensors").write_bytes(b"")
    done = weft(
        "--run", TXT2IMG, "--models", tmp_path / "models", "--output-directory", tmp_path / "output",
        "--set", "Load Checkpoint.ckpt_name=broken.safetensors",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Load Checkpoint (CheckpointLoaderSimple, node 1) failed" in done.stderr
    assert "empty" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    workflow = json.loads(TXT2IMG.read_text())
    workflow["5"]["inputs"].update(steps="x", scheduler="karas")
    del workflow["6"]["inputs"]["vae"]
    workflow["4"]["class_type"] = "EmptyLatentImag"
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps(workflow))
    done = weft("--validate", path)
    assert done.returncode == 2
    for word in ("steps", "'karras'", "vae", "'EmptyLatentImage'"):
        assert word in done.stderr


def test_set_finds_the_only_node_of_a_class(tmp_path: Path) -> None:
    workflow = json.loads(TXT2IMG.read_text())
    for node in workflow.values():
        del node["_meta"]
    (tmp_path / "untitled.json").write_text(json.dumps(workflow))
    for name in ("KSampler.steps=3", "Empty Latent Image.width=64", "EmptyLatentImage.width=64"):
        assert weft("--validate", tmp_path / "untitled.json", "--set", name).returncode == 0


def test_json_says_what_is_wrong_and_what_nodes_there_are() -> None:
    refused = weft("--validate", TXT2IMG, "--json", "--set", "KSampler.steps=0")
    (line,) = refused.stdout.splitlines()
    assert refused.returncode == 2
    assert json.loads(line)["faults"][0]["input"] == "steps"
    assert json.loads(weft("--run", "nowhere.json", "--json").stdout)["event"] == "invalid"
    assert json.loads(weft("--nodes", "KSampler", "--json").stdout)["KSampler"]["output_name"] == ["LATENT"]


def test_nodes_are_listed_and_explained() -> None:
    listed, explained = weft("--nodes"), weft("--nodes", "KSampler")
    assert (listed.returncode, explained.returncode) == (0, 0)
    assert "CLIPTextEncode" in listed.stdout
    assert "denoise" in explained.stdout
    assert "classifier-free guidance" in explained.stdout


def test_custom_nodes_join_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(
        "from graph import node\n\n\n"
        '@node("Shout", category="text")\n'
        "def shout(*, text: str) -> str:\n"
        '    """Louder.\n\n    Inputs:\n        text: The text.\n    """\n'
        "    return text.upper()\n"
    )
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    done = weft("--nodes", "Shout", "--custom-nodes", tmp_path)
    assert done.returncode == 0
    assert "Louder." in done.stdout
    assert "nothing_of_this_name" in done.stderr


def test_a_mistake_in_an_own_node_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from graph import node\n\n\n"
        '@node("Wrong", category="text", output=True)\n'
        "def wrong(*, text: str) -> None:\n"
        '    """Wrong."""\n'
        "    undefined(text)\n"
    )
    workflow = tmp_path / "wrong.json"
    workflow.write_text(json.dumps({"1": {"class_type": "Wrong", "inputs": {"text": "a"}}}))
    done = weft("--run", workflow, "--custom-nodes", tmp_path)
    assert done.returncode == 1
    assert "name 'undefined' is not defined" in done.stderr
    assert "wrong.py:7)" in done.stderr


def test_ctrl_c_ends_within_a_step_and_leaves_no_file(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "main.py"), "--run", str(TXT2IMG), "--json",
        "--set", "KSampler.steps=10000", "--output-directory", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "node_progress":
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    events = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 130
    assert events[-1]["status"] == "cancelled"
    assert sum(event["event"] == "node_progress" for event in events) < 5000
    assert "Stopped." in err
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_the_full_size_model_runs(full_size_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir(parents=True)
    os.symlink(full_size_checkpoint, folder / "full.safetensors")
    done = weft(
        "--run", TXT2IMG, "--models", tmp_path / "models", "--output-directory", tmp_path, "--quiet",
        "--set", "Load Checkpoint.ckpt_name=full.safetensors", "--set", "KSampler.steps=2",
        "--set", "Empty Latent.width=256", "--set", "Empty Latent.height=256",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Pillow.open(done.stdout.strip()) as picture:
        assert picture.size == (256, 256)
