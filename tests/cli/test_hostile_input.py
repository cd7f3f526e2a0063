"""The command line in bad company: streams that are closed or full, signals, and workflows made to harm or confuse."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).parents[2]
TXT2IMG = ROOT / "workflows" / "txt2img.json"
COUNT = {
    "1": {"class_type": "PrimitiveInt", "inputs": {"value": 5}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
}


def shell(line: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Runs a line in which $WEFT is the command."""
    environment = {**os.environ, "WEFT": f"{sys.executable} {ROOT / 'main.py'}"}
    environment |= {name: str(value) for name, value in variables.items()}
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def write(folder: Path, workflow: object) -> Path:
    path = folder / "workflow.json"
    path.write_text(json.dumps(workflow))
    return path


def test_a_reader_that_leaves_ends_it_without_a_traceback(tmp_path: Path) -> None:
    workflow = write(
        tmp_path, {str(i): {"class_type": "PreviewAny", "inputs": {"source": i}} for i in range(3000)}
    )
    done = shell("$WEFT --run $FILE --json | head -1; exit ${PIPESTATUS[0]}", FILE=workflow)
    assert done.returncode == 1
    assert json.loads(done.stdout)["event"] == "run_started"
    assert done.stderr == ""


def test_a_full_output_is_said(tmp_path: Path) -> None:
    done = shell("$WEFT --validate $FILE > /dev/full", FILE=write(tmp_path, COUNT))
    assert done.returncode == 1
    assert done.stderr == "Error: [Errno 28] No space left on device\n"


def test_closed_streams_are_done_without(tmp_path: Path) -> None:
    done = shell("$WEFT --run $FILE >&- 2>&-", FILE=write(tmp_path, COUNT))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = shell("$WEFT --run $FILE 2>&-", FILE=write(tmp_path, COUNT))
    assert (done.returncode, done.stdout) == (0, "")


def test_sigterm_ends_a_run_in_order(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "main.py"), "--run", str(TXT2IMG), "--json",
        "--set", "KSampler.steps=10000", "--output-directory", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "node_progress":
            process.send_signal(signal.SIGTERM)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["status"] == "cancelled"
    assert err == "Stopped.\n"


def test_titles_do_not_steer_the_terminal(tmp_path: Path) -> None:
    workflow = json.loads(json.dumps(COUNT))
    workflow["2"]["_meta"] = {"title": "\x1b[31mred\x07"}
    done = shell("$WEFT --run $FILE", FILE=write(tmp_path, workflow))
    assert done.returncode == 0
    assert "\ufffd[31mred\ufffd (2): " in done.stderr
    assert "\x1b[31m" not in done.stderr


def test_set_takes_links_and_titles_with_signs_in_them(tmp_path: Path) -> None:
    workflow = {**COUNT, "3": {**COUNT["2"], "_meta": {"title": "a=b.c"}}}
    workflow["4"] = {"class_type": "PrimitiveInt", "inputs": {"value": 6}}
    done = shell(
        """$WEFT --run $FILE --json --set 'a=b.c.source=["4", 0]' --set 4.value=007""",
        FILE=write(tmp_path, workflow),
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    shown = {event["node"]: event["ui"] for event in events if event["event"] == "node_finished"}
    assert (shown["2"], shown["3"]) == ({"text": ["5"]}, {"text": ["7"]})


@pytest.mark.parametrize("action", ["--run", "--validate"])
def test_a_picture_whose_text_unpacks_to_too_much_is_refused(tmp_path: Path, action: str) -> None:
    texts = PngInfo()
    texts.add_text("prompt", "a" * 3_000_000, zip=True)
    Pillow.new("RGB", (2, 2)).save(tmp_path / "bomb.png", pnginfo=texts)
    done = shell(f"$WEFT {action} $FILE", FILE=tmp_path / "bomb.png")
    assert done.returncode == 2
    assert done.stderr == f"Error: {tmp_path / 'bomb.png'} is neither a picture that can be read nor JSON\n"


def test_too_little_memory_is_said_in_words_that_help(tmp_path: Path) -> None:
    large = {"class_type": "EmptyImage", "inputs": {"width": 16384, "height": 16384}}
    workflow = {"1": large, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    done = shell("ulimit -v 3500000; $WEFT --run $FILE --quiet", FILE=write(tmp_path, workflow))
    assert done.returncode == 1
    assert "there is not enough memory. Make the picture smaller" in done.stderr


def test_a_latent_too_large_for_any_memory_is_said() -> None:
    done = shell(
        "$WEFT --run $FILE --quiet --set 'Empty Latent.width=16384' --set 'Empty Latent.height=16384' "
        "--set 'Empty Latent.batch_size=4096'",
        FILE=TXT2IMG,
    )
    assert done.returncode == 1
    assert "meant to fit the memory. Use a smaller size or batch." in done.stderr


def test_a_pipe_that_nobody_writes_to_can_be_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "--run", str(tmp_path / "pipe")], stderr=subprocess.PIPE
    )
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)  # waits until the other side reads
    process.terminate()
    assert process.communicate(timeout=60)[1] == b""
    os.close(writer)
    assert process.returncode == -signal.SIGTERM
