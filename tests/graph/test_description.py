"""What editors and readers are told of nodes."""

from __future__ import annotations

import json
from pathlib import Path

from graph import describe, describe_all, document, document_all, spec_of
from graph.docstring import read_docstring
from tests.graph.toys import REGISTRY, folders_in, load_thing, sampler, show, split, spread, switch, total


def test_a_node_in_the_shape_that_editors_read(tmp_path: Path) -> None:
    told = describe(spec_of(sampler), folders_in(tmp_path))
    assert told["input"] == {
        "required": {
            "image": ["IMAGE", {"tooltip": "where to start"}],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
            "steps": ["INT", {"default": 20, "min": 1, "max": 100, "tooltip": "how many steps are taken"}],
            "cfg": ["FLOAT", {"default": 8.0, "min": 0, "max": 30, "step": 0.5}],
            "method": [["euler", "heun", "ddim"], {"default": "euler"}],
            "text": ["STRING", {"default": "", "multiline": True}],
        },
        "optional": {"mask": ["MASK", {}]},
    }
    assert told["input_order"]["required"] == ["image", "seed", "steps", "cfg", "method", "text"]
    assert (told["output"], told["output_name"], told["output_is_list"]) == (["IMAGE"], ["IMAGE"], [False])
    assert told["output_tooltips"] == ["the picture"]
    assert (told["name"], told["display_name"], told["category"]) == ("Sampler", "Sample it", "toys/sampling")
    assert told["description"].startswith("Make an image")
    assert (told["output_node"], told["python_module"]) == (False, "tests.graph.toys")


def test_lists_of_files_are_current(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    spec = spec_of(load_thing)
    assert describe(spec, folders)["input"]["required"]["name"] == [[], {}]
    (tmp_path / "models" / "things").mkdir(parents=True)
    (tmp_path / "models" / "things" / "new.bin").touch()
    assert describe(spec, folders)["input"]["required"]["name"] == [["new.bin"], {}]


def test_lists_lazy_inputs_and_outputs(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    assert describe(spec_of(spread), folders)["output_is_list"] == [True]
    assert describe(spec_of(total), folders)["is_input_list"] is True
    assert describe(spec_of(switch), folders)["input"]["required"]["yes"] == ["*", {"lazy": True}]
    assert describe(spec_of(show), folders)["output_node"] is True
    assert describe(spec_of(split), folders)["output_name"] == ["FIRST", "SECOND"]


def test_everything_is_json(tmp_path: Path) -> None:
    told = describe_all(REGISTRY, folders_in(tmp_path))
    assert set(told) == set(REGISTRY)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_a_node_is_documented_out_of_its_signature() -> None:
    text = document(spec_of(sampler))
    assert text.startswith("## Sampler\n")
    assert "Make an image out of an image.\n\nA second paragraph." in text
    assert "| `steps` | INT | `20` | how many steps are taken From 1 to 100. |" in text
    assert '| `method` | COMBO | `"euler"` | One of `euler`, `heun`, `ddim`. |' in text
    assert "| `image` | IMAGE | needed | where to start |" in text
    assert "| `mask` | MASK | none |  |" in text
    assert "| `IMAGE` | IMAGE | the picture |" in text


def test_all_nodes_are_documented_by_category() -> None:
    text = document_all(REGISTRY)
    assert all(f"\n## {name}\n" in text for name in REGISTRY)
    assert "- toys/sampling: [Sampler](#sampler)" in text


def test_docstrings_are_split() -> None:
    doc = read_docstring(
        """First line.

        More: with a colon.

        Inputs:
            a: one
            b: two, which goes on
                and on: here

        After it.

        Outputs:
            C: three
        """
    )
    assert doc.description == "First line.\n\nMore: with a colon.\n\nAfter it."
    assert doc.inputs == {"a": "one", "b": "two, which goes on and on: here"}
    assert doc.outputs == {"C": "three"}
