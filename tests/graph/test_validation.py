"""Validation: each fault is found, placed and explained, all at once; nothing makes it crash."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph import Executor, Fault, Folders, Link, Node, Workflow, WorkflowError, validate
from tests.graph.toys import REGISTRY, folders_in, number, run, show, workflow

NOWHERE = Folders(models=())


def faults(drawn: dict[str, Any] | Workflow, folders: Folders = NOWHERE, **options: Any) -> list[Fault]:
    read = drawn if isinstance(drawn, Workflow) else Workflow.from_json(drawn)
    return validate(read, REGISTRY, folders, **options)


def one(drawn: dict[str, Any] | Workflow, folders: Folders = NOWHERE) -> Fault:
    (fault,) = faults(drawn, folders)
    return fault


def shown(node_id: str = "1") -> dict[str, Any]:
    return {"class_type": "Show", "inputs": {"value": [node_id, 0]}}


def sampler(**inputs: Any) -> dict[str, Any]:
    """A sampler fed by a fitting node, shown by another."""
    return {
        "1": {"class_type": "Sampler", "inputs": {"image": ["0", 0], **inputs}, "_meta": {"title": "Mine"}},
        "0": {"class_type": "LoadThing", "inputs": {"name": "a.bin"}},
        "2": shown(),
    }


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    things = tmp_path / "models" / "things"
    things.mkdir(parents=True)
    for name in ("a.bin", "other.bin"):
        (things / name).touch()
    return folders_in(tmp_path)


def test_a_sound_workflow_has_no_faults(folders: Folders) -> None:
    assert faults(sampler(steps=5, cfg=3, text="x", mask=None, seed=2**64 - 1), folders) == []


def test_an_unknown_class_and_the_nearest() -> None:
    fault = one({"1": {"class_type": "Nunber", "inputs": {}, "_meta": {"title": "N"}}, "2": shown()})
    assert (fault.kind, fault.node, fault.title, fault.class_type) == (
        "missing_node_type",
        "1",
        "N",
        "Nunber",
    )
    assert fault.nearest == "Number"
    assert "Did you mean 'Number'?" in fault.message


def test_a_missing_input() -> None:
    fault = one({"1": {"class_type": "Add", "inputs": {"b": 2}}, "2": shown()})
    assert (fault.kind, fault.node, fault.input) == ("required_input_missing", "1", "a")
    assert "INT" in fault.message
    null = one({"1": {"class_type": "Add", "inputs": {"a": None}}, "2": shown()})
    assert null.kind == "required_input_missing"


def test_an_unknown_input_blocks_only_if_it_looks_like_a_slip(folders: Folders) -> None:
    stray = one(sampler(upload="image"), folders)
    assert (stray.kind, stray.input, stray.blocking, stray.nearest) == (
        "unknown_input",
        "upload",
        False,
        None,
    )
    slip = one(sampler(stpes=5), folders)
    assert (slip.kind, slip.input, slip.blocking, slip.nearest) == ("unknown_input", "stpes", True, "steps")


@pytest.mark.parametrize(
    ("inputs", "kind", "expected", "nearest"),
    [
        ({"steps": 0}, "value_smaller_than_min", "at least 1", None),
        ({"steps": 101}, "value_bigger_than_max", "at most 100", None),
        ({"steps": 2.5}, "invalid_input_type", "a whole number", None),
        ({"steps": "many"}, "invalid_input_type", "a whole number", None),
        ({"steps": math.inf}, "invalid_input_type", "a whole number", None),
        ({"steps": {}}, "invalid_input_type", "a whole number", None),
        ({"steps": 10**400}, "value_bigger_than_max", "at most 100", None),
        ({"seed": -1}, "value_smaller_than_min", "at least 0", None),
        ({"seed": 2**64}, "value_bigger_than_max", f"at most {2**64 - 1}", None),
        ({"cfg": math.nan}, "invalid_input_type", "a finite number", None),
        ({"cfg": 10**400}, "invalid_input_type", "a finite number", None),
        ({"cfg": "1e999"}, "invalid_input_type", "a finite number", None),
        ({"text": {}}, "invalid_input_type", "a text", None),
        ({"method": "eular"}, "value_not_in_list", "one of 'euler', 'heun', 'ddim'", "euler"),
        ({"mask": "a"}, "bad_linked_input", "a link to an output of type MASK", None),
        ({"steps": ["0"]}, "bad_linked_input", "a link [node id", None),
        ({"steps": ["0", "0"]}, "bad_linked_input", "a link [node id", None),
        ({"steps": []}, "bad_linked_input", "a link [node id", None),
        ({"steps": ["9", 0]}, "bad_linked_input", "a link to a node of this workflow", None),
        ({"image": ["0", 1]}, "bad_linked_input", "0 IMAGE", None),
        ({"image": ["0", -1]}, "bad_linked_input", "0 IMAGE", None),
        ({"steps": ["0", 0]}, "return_type_mismatch", "an output of type INT", None),
        ({"steps": {"__value__": [1, 2]}}, "invalid_input_type", "a whole number", None),
    ],
)
def test_each_fault_of_a_value(
    folders: Folders, inputs: dict[str, Any], kind: str, expected: str, nearest: str | None
) -> None:
    fault = one(sampler(**inputs), folders)
    (name, found) = next(iter(inputs.items()))
    assert (fault.kind, fault.node, fault.title, fault.input, fault.nearest) == (
        kind,
        "1",
        "Mine",
        name,
        nearest,
    )
    assert expected in str(fault.expected)
    assert fault.blocking
    assert f"input {name}" in fault.message
    assert fault.found == found or found != found


def test_up_to_a_dozen_choices_are_listed(folders: Folders) -> None:
    things = folders.models[0] / "things"
    for index in range(10):
        (things / f"{index:02}.bin").touch()
    drawn = {"1": {"class_type": "LoadThing", "inputs": {"name": "x"}}, "2": shown()}
    assert "'other.bin'" in one(drawn, folders).message
    (things / "zz.bin").touch()
    assert "'other.bin', ... (13 in all)" in one(drawn, folders).message


def test_a_missing_file_names_the_nearest(folders: Folders) -> None:
    fault = one({"1": {"class_type": "LoadThing", "inputs": {"name": "othr.bin"}}, "2": shown()}, folders)
    assert (fault.kind, fault.nearest) == ("value_not_in_list", "other.bin")
    none = one({"1": {"class_type": "LoadThing", "inputs": {"name": "x"}}, "2": shown()})
    assert "but there are none" in none.message
    out = one({"1": {"class_type": "LoadThing", "inputs": {"name": "../a.bin"}}, "2": shown()}, folders)
    assert "inside the folder things" in out.message


def test_values_written_otherwise_are_taken(folders: Folders) -> None:
    drawn = {"1": {"class_type": "Add", "inputs": {"a": "40", "b": 2.0}}, "out": shown()}
    result, _ = run(Workflow.from_json(drawn), Executor(REGISTRY))
    assert result.values["out"] == (42,)


def test_a_mistyped_link_names_an_output_that_fits() -> None:
    drawn = {
        "1": {"class_type": "Split", "inputs": {"value": 1}},
        "2": {"class_type": "Add", "inputs": {"a": ["1", 1]}},
        "3": shown("2"),
    }
    fault = one(drawn)
    assert (fault.kind, fault.nearest, fault.found) == ("return_type_mismatch", '["1", 0]', ["1", 1])
    assert 'Did you mean ["1", 0]?' in fault.message
    assert "of type STRING, expected an output of type INT" in fault.message


def test_a_link_that_would_do_is_named(folders: Folders) -> None:
    for image in ("a.png", None):
        drawn = sampler(image=image)
        fault = one(drawn | {"2": {"class_type": "Show", "inputs": {"value": ["1", 0]}}}, folders)
        assert 'of type IMAGE, such as ["0", 0].' in fault.message
    nothing = one({"1": {"class_type": "Sampler", "inputs": {"image": 3}}, "2": shown()})
    assert nothing.message.endswith("expected a link to an output of type IMAGE.")


def test_types_go_through_nodes_that_hand_on(folders: Folders) -> None:
    drawn = {
        "i": {"class_type": "LoadThing", "inputs": {"name": "a.bin"}},
        "w": {"class_type": "Switch", "inputs": {"which": True, "yes": ["i", 0], "no": ["i", 0]}},
        "x": {"class_type": "Switch", "inputs": {"which": True, "yes": ["w", 0], "no": ["i", 0]}},
        "a": {"class_type": "Add", "inputs": {"a": ["x", 0]}},
        "out": shown("a"),
    }
    fault = one(drawn, folders)
    assert (fault.kind, fault.node) == ("return_type_mismatch", "a")
    assert "of type IMAGE" in fault.message


def test_a_cycle_is_printed() -> None:
    drawn = {
        "c": {"class_type": "Add", "inputs": {"a": ["b", 0]}},
        "a": {"class_type": "Add", "inputs": {"a": ["c", 0]}},
        "b": {"class_type": "Add", "inputs": {"a": ["a", 0]}},
        "s": {"class_type": "Add", "inputs": {"a": ["s", 0], "b": ["s", 0]}},
        "2": shown("b"),
    }
    found = faults(drawn)
    assert [(fault.kind, fault.cycle, fault.blocking) for fault in found] == [
        ("dependency_cycle", ("a", "b", "c"), True),
        ("dependency_cycle", ("s",), False),
    ]
    assert "a (Add) -> b (Add) -> c (Add) -> a (Add)" in found[0].message


def test_no_output_node() -> None:
    fault = one({"1": {"class_type": "Number", "inputs": {}}})
    assert fault.kind == "prompt_no_outputs"
    assert "Output nodes are: Show" in fault.message
    assert one({}).kind == "prompt_no_outputs"


def test_targets_need_not_be_output_nodes_but_must_exist() -> None:
    drawn = {"1": {"class_type": "Number", "inputs": {}}}
    assert faults(drawn, targets=["1"]) == []
    (fault,) = faults(drawn, targets=["11"])
    assert (fault.kind, fault.nearest) == ("prompt_no_outputs", "1")


def test_every_fault_at_once(folders: Folders) -> None:
    drawn = sampler(steps=0, cfg=99, method="x", image=["0", 3]) | {"5": 7, "6": {"class_type": "Nope"}}
    found = faults(drawn, folders)
    assert {fault.kind for fault in found} == {
        "invalid_prompt",
        "value_smaller_than_min",
        "value_bigger_than_max",
        "value_not_in_list",
        "bad_linked_input",
        "missing_node_type",
    }
    with pytest.raises(WorkflowError) as refused:
        Executor(REGISTRY, folders=folders).run(Workflow.from_json(drawn))
    assert len(refused.value.faults) == len(found) == 6


def test_what_no_output_needs_does_not_block() -> None:
    drawn = {
        "1": {"class_type": "Number", "inputs": {}},
        "2": shown(),
        "9": {"class_type": "Add", "inputs": {}},
    }
    fault = one(drawn)
    assert (fault.node, fault.blocking) == ("9", False)
    result, _ = run(Workflow.from_json(drawn), Executor(REGISTRY))
    assert result.status == "success"


@pytest.mark.parametrize("source", ["nowhere", "9", "8"])
def test_broken_links_aside_do_not_block(source: str) -> None:
    aside = {
        "9": {"class_type": "Add", "inputs": {"a": [source, 0]}},
        "8": {"class_type": "Fail", "inputs": {}},
    }
    drawn = Workflow.from_json({"1": {"class_type": "Number", "inputs": {}}, "2": shown(), **aside})
    assert faults(drawn)
    assert not any(fault.blocking for fault in faults(drawn))
    assert run(drawn)[0].status == "success"


def test_a_workflow_in_python_is_checked_too() -> None:
    drawn = workflow(a=Node.of(show, value=object()), b=Node.of(number, value=Link("zz")))
    kinds = {fault.kind for fault in faults(drawn)}
    assert kinds == {"invalid_input_type", "bad_linked_input"}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        deep(500),
        deep(100_000),
        {"a": math.nan},
        {"a": {3: 4}},
        {"__value__": [{"b": math.inf}]},
        math.nan,
        {"a": {1}},
    ],
    ids=["deep", "deeper", "nan", "key", "inf", "bare nan", "set"],
)
def test_hostile_values_are_faults(value: Any) -> None:
    fault = one({"2": {"class_type": "Show", "inputs": {"value": value}}})
    assert (fault.kind, fault.node) == ("invalid_input_type", "2")


@pytest.mark.slow
def test_a_hundred_thousand_nodes_in_a_cycle() -> None:
    count = 100_000
    drawn = {str(i): {"class_type": "Add", "inputs": {"a": [str((i + 1) % count), 0]}} for i in range(count)}
    fault = one(drawn | {"out": shown("5")})
    assert fault.kind == "dependency_cycle"
    assert len(fault.cycle) == count
    assert len(fault.message) < 1000


@pytest.mark.slow
def test_a_hundred_thousand_faults() -> None:
    drawn = {str(i): {"class_type": f"Nothing{i}", "inputs": {}} for i in range(100_000)}
    found = faults(drawn)
    assert len(found) == 100_001
    with pytest.raises(WorkflowError, match="more faults"):
        Executor(REGISTRY).run(Workflow.from_json(drawn))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
near_links = st.tuples(st.sampled_from("abc") | st.integers(0, 3), st.integers(-2, 3) | st.none()).map(list)
near_nodes = st.fixed_dictionaries(
    {},
    optional={
        "class_type": st.sampled_from(list(REGISTRY)) | anything,
        "inputs": st.dictionaries(
            st.sampled_from(["a", "b", "value", "image", "steps", "name", "yes", "values"]),
            near_links | anything,
        )
        | anything,
        "_meta": anything,
    },
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from("abc"), near_nodes | anything, max_size=3) | anything)
def test_nothing_makes_it_crash(drawn: Any) -> None:
    try:
        read = Workflow.from_json(drawn, REGISTRY)
    except WorkflowError:
        return
    found = validate(read, REGISTRY, NOWHERE)
    for fault in found:
        assert fault.message
    read.to_json()


@settings(deadline=None)
@given(st.text() | st.binary())
def test_no_text_makes_it_crash(text: str | bytes) -> None:
    with contextlib.suppress(WorkflowError):
        validate(Workflow.from_json(text, REGISTRY), REGISTRY, NOWHERE)
