"""A checkpoint that another program writes to in the middle of a run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MEDDLER = '''
"""A node that spoils the checkpoint on the way from the loader to the sampler."""
import os
from pathlib import Path

from diffusion.model import Model
from graph import Context, QUIET, node


@node("Meddler", category="test")
def meddler(*, model: Model, ctx: Context = QUIET) -> Model:
    """Hand the model on.

    Inputs:
        model: The model.
    """
    os.truncate(ctx.folders.find("checkpoints", "weft-tiny.safetensors"), 100_000)
    return model
'''


@pytest.mark.parametrize("dtype", ["auto", "fp32"])
def test_a_run_whose_checkpoint_is_cut_short_ends_with_a_message(tmp_path: Path, dtype: str) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "meddler.py").write_text(MEDDLER)
    nodes = json.loads((ROOT / "workflows" / "txt2img.json").read_text())
    nodes["5"]["inputs"]["model"] = ["8", 0]
    nodes["8"] = {"class_type": "Meddler", "inputs": {"model": ["1", 0]}}
    (tmp_path / "workflow.json").write_text(json.dumps(nodes))
    done = subprocess.run(
        [
            *(
                sys.executable,
                str(ROOT / "main.py"),
                "--run",
                str(tmp_path / "workflow.json"),
                "--dtype",
                dtype,
            ),
            *("--models", str(tmp_path / "models"), "--custom-nodes", str(tmp_path / "nodes")),
            *("--output-directory", str(tmp_path / "output")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "the file changed while it was in use (it had" in done.stderr
    assert "now 100000). Run again" in done.stderr
    assert "Traceback" not in done.stderr
