"""Workflow JSON: read, kept, written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Link, Node, Workflow, WorkflowError
from tests.graph.toys import add

DRAWN = {
    "1": {"inputs": {"value": 4}, "class_type": "Number", "_meta": {"title": "Four", "pos": [1, 2]}},
    "2:7": {"inputs": {"a": ["1", 0], "b": 2}, "class_type": "Add", "colour": "red"},
    "out": {"inputs": {"value": ["2:7", 0]}, "class_type": "Show"},
}


def test_what_is_read_is_written_again() -> None:
    assert Workflow.from_json(DRAWN).to_json() == DRAWN
    assert Workflow.from_json(json.dumps(DRAWN)).to_json() == DRAWN
    assert Workflow.from_json(json.dumps(DRAWN).encode("utf-8-sig")).to_json() == DRAWN
    assert Workflow.from_json(json.dumps(DRAWN).encode("utf-16")).to_json() == DRAWN


def test_nodes_links_and_meta() -> None:
    workflow = Workflow.from_json(DRAWN)
    assert workflow.nodes["2:7"] == Node("Add", {"a": Link("1", 0), "b": 2}, {}, {"colour": "red"})
    assert workflow.nodes["1"].title == "Four"
    assert sorted(workflow.to_graph().edges) == [("1", "2:7"), ("2:7", "out")]


def test_the_body_of_a_queue_request_is_unwrapped() -> None:
    assert Workflow.from_json({"prompt": DRAWN, "client_id": "x"}).to_json() == DRAWN
    named = {"prompt": DRAWN["1"], "nodes": DRAWN["1"]}
    assert Workflow.from_json(named).to_json() == named


def test_numbers_as_ids_and_leftovers_of_another_cache() -> None:
    drawn: dict[Any, Any] = {
        1: {"class_type": "Number", "inputs": {}, "is_changed": [float("nan")]},
        2: {"class_type": "Add", "inputs": {"a": [1, 0]}},
    }
    assert Workflow.from_json(drawn).to_json() == {
        "1": {"class_type": "Number", "inputs": {}},
        "2": {"class_type": "Add", "inputs": {"a": ["1", 0]}},
    }


def test_nodes_may_be_written_in_python() -> None:
    workflow = Workflow({"a": Node.of(add, a=1), "b": Node.of(add, a=Link("a"))})
    assert workflow.to_json()["b"] == {"class_type": "Add", "inputs": {"a": ["a", 0]}}
    with pytest.raises(TypeError, match="not a node"):
        Node.of(len)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "the file is empty"),
        (b" \n", "the file is empty"),
        ("{", "line 1, column 2"),
        ("[1, 2]", "it is a list, where an object of nodes"),
        ("3", "an object of nodes"),
        ("null", "it is null, where an object of nodes"),
        (b"\x89PNG", "save it as UTF-8"),
        (b"\xff\xfe{", "UTF-8"),
        ('{"1": 2,}', 'a comma too many in: {"1": 2,}'),
        ('{\n "1": 2,\n\n}', 'a comma too many at the end of the line before: "1": 2,'),
        (
            '{"1": [3\n4]}',
            r'line 2, column 1; is there a comma missing at the end of the line before: {"1": \[3',
        ),
        ('{"1": [3 4]}', "a comma missing in: "),
        ("{\n1: 2}", "line 2, column 1, in: 1: 2}"),
        ("x" * 5000, "in: x{80}"),
        ('{"2": {}, "1": {}, "2": {}}', "the node id '2' is there twice"),
        ('{"prompt": {"2": {}, "2": {}}}', "the node id '2' is there twice"),
        ('{"2": {"inputs": {"a": 1, "a": 2}}}', "the name 'a' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"1": ' * 100_000, "nested too deeply"),
        ('{"1": ' + "9" * 5000 + "}", "a number in it has too many digits"),
        ('{"nodes": [], "links": []}', "needs the registry"),
    ],
)
def test_what_is_no_workflow_is_refused(source: Any, said: str) -> None:
    with pytest.raises(WorkflowError, match=said) as refused:
        Workflow.from_json(source)
    assert len(refused.value.faults) == 1


def test_what_is_wrong_with_single_nodes_is_kept() -> None:
    drawn: dict[Any, Any] = {
        "a": 3,
        "b": {"inputs": {}},
        "c": {"class_type": 5},
        "d": {"class_type": "Number", "inputs": []},
        "e": {"class_type": "Number", "inputs": {3: 4}},
        (1, 2): {},
        7: {"class_type": "Number"},
        "7": {"class_type": "Number"},
        10**6000: {},
    }
    workflow = Workflow.from_json(drawn)
    assert [(fault.node, fault.kind) for fault in workflow.faults] == [
        ("a", "invalid_prompt"),
        ("b", "missing_node_type"),
        ("c", "missing_node_type"),
        ("d", "invalid_prompt"),
        ("e", "invalid_prompt"),
        (None, "invalid_prompt"),
        (None, "invalid_prompt"),
        (None, "invalid_prompt"),
    ]


def test_a_node_is_found_by_id_or_title() -> None:
    workflow = Workflow.from_json(DRAWN)
    assert workflow.find("out") == "out"
    assert workflow.find("Four") == "1"
    with pytest.raises(KeyError, match="Did you mean 'Four'"):
        workflow.find("Fuor")
    twice = Workflow({key: Node("Number", {}, {"title": "T"}) for key in "ab"})
    with pytest.raises(KeyError, match="nodes a, b all have the title"):
        twice.find("T")


def test_an_input_is_set_in_a_copy() -> None:
    workflow = Workflow.from_json(DRAWN)
    assert workflow.with_input("1", "value", 9).nodes["1"].inputs == {"value": 9}
    assert workflow.to_json() == DRAWN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
links = st.tuples(st.text(), st.integers()).map(list)
api_nodes = st.fixed_dictionaries(
    {
        "class_type": st.text(min_size=1),
        "inputs": st.dictionaries(st.text(), json_values | links, max_size=4),
    },
    optional={"_meta": st.dictionaries(st.text(), json_values, min_size=1, max_size=3), "other": json_values},
)


@given(st.dictionaries(st.text(), api_nodes, max_size=5))
def test_any_workflow_comes_back_equal(drawn: dict[str, Any]) -> None:
    if "class_type" not in drawn.get("prompt", {"class_type": 0}) or isinstance(drawn.get("nodes"), list):
        return
    read = Workflow.from_json(json.dumps(drawn))
    assert read.faults == ()
    assert read.to_json() == drawn
