"""What starting costs is what it imports: modules that a command must do without."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = [ROOT / "workflows" / f"{name}.json" for name in ("txt2img", "inpaint", "lora")]

SLOW_AND_UNUSED = frozenset(
    {
        *("torch._dynamo", "torch._inductor", "torch.onnx", "sympy", "networkx"),
        *("transformers", "diffusers", "peft", "openvino", "matplotlib", "torchvision", "pandas", "scipy"),
    }
)
"""Each takes from a tenth of a second to several to import."""
OTHER_NODES = frozenset(
    {"nodes.compvis", "nodes.guidance", "nodes.evaluation", "imaging", "diffusion.safety"}
)
"""Of what no workflow here has a node, and what such nodes stand on."""

PROGRAM = """
import contextlib, json, sys
import main
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
        code = main.main(arguments)
        assert code == 0, code
print(json.dumps(list(sys.modules)))
"""


def imported(*command_lines: list[str]) -> set[str]:
    """The modules that a process has imported after these command lines, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(command_lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", [["--help"], ["--run", "a.json", "--models", "no such folder"]])
def test_the_command_line_is_read_without_torch(arguments: list[str]) -> None:
    modules = imported(arguments)
    assert "argparse" in modules
    assert modules.isdisjoint(SLOW_AND_UNUSED | {"torch", "numpy", "PIL", "graph", "nodes"})


def test_workflows_are_checked_without_what_only_runs_need() -> None:
    modules = imported(["--validate", str(WORKFLOWS[0])], ["--nodes"])
    assert "nodes.loaders" in modules
    assert modules.isdisjoint(SLOW_AND_UNUSED)


@pytest.mark.slow
def test_pictures_are_made_without_torchs_compiler_and_other_libraries(tmp_path: Path) -> None:
    options = ["--quiet", "--output-directory", str(tmp_path), "--set", "KSampler.steps=1"]
    modules = imported(*(["--run", str(path), *options] for path in WORKFLOWS))
    assert len(list(tmp_path.iterdir())) == len(WORKFLOWS)
    assert modules.isdisjoint(SLOW_AND_UNUSED | OTHER_NODES)
