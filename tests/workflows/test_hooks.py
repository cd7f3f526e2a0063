"""The workflow of a LoRA that comes in along the run, on the tiny checkpoint."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from graph import Executor, Folders, Workflow
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import Pixels

ROOT = Path(__file__).parents[2]
NODES: dict[str, Any] = json.loads((ROOT / "workflows" / "lora_over_time.json").read_text())


def test_a_lora_that_comes_in_late_still_draws_its_outline(tmp_path: Path) -> None:
    folders = Folders(models=(ROOT / "models",), input=ROOT / "input", output=tmp_path, temp=tmp_path)
    executor = Executor(REGISTRY, folders=folders)

    def drawn(*, start: float | None = None, strength: float = 1.0) -> Path:
        nodes = json.loads(json.dumps(NODES))
        late = nodes["10"]["inputs"]
        late["strength_mult"] = strength
        late["start_percent"] = late["start_percent"] if start is None else start
        result = executor.run(Workflow.from_json(json.dumps(nodes)))
        assert result.errors == ()
        (shown,) = (image for ui in result.ui.values() for image in ui.get("images", ()))
        return tmp_path / shown["filename"]

    late, always, never = drawn(), drawn(start=0.0), drawn(strength=0.0)
    assert check_picture(late, NODES["2"]["inputs"]["text"]).right
    assert ink(never) < 0.001 < 0.01 < ink(late)
    whole_way = apart(always, never)
    assert 0.1 * whole_way < apart(late, always) < whole_way
    assert 0.1 * whole_way < apart(late, never)


def pixels_of(path: Path) -> Pixels:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float64) / 255


def ink(path: Path) -> float:
    """The share of dark pixels."""
    return float((pixels_of(path).max(axis=-1) < 0.35).mean())


def apart(one: Path, other: Path) -> float:
    return float(np.abs(pixels_of(one) - pixels_of(other)).mean())
