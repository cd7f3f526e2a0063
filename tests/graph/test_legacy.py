"""The editor's older form: nodes, links, widget values, and all that is drawn but does not run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Executor, Folders, Registry, Workflow, WorkflowError, validate
from tests.graph.toys import REGISTRY, run


def drawn(
    node_id: Any, kind: str, widgets: Any = None, inputs: Any = (), outputs: Any = (), **more: Any
) -> Any:
    """A node; inputs and outputs as (name, type[, link])."""
    return {
        "id": node_id,
        "type": kind,
        "mode": 0,
        "inputs": [
            {"name": item[0], "type": item[1], "link": item[2] if len(item) > 2 else None} for item in inputs
        ],
        "outputs": [{"name": name, "type": kind_, "links": []} for name, kind_ in outputs],
        **({} if widgets is None else {"widgets_values": widgets}),
        **more,
    }


def document(nodes: list[Any], links: list[Any], **more: Any) -> dict[str, Any]:
    return {"last_node_id": 99, "last_link_id": 99, "nodes": nodes, "links": links, "version": 0.4, **more}


def read(nodes: list[Any], links: list[Any], **more: Any) -> dict[str, Any]:
    """The API form, without what is only about looks."""
    workflow = Workflow.from_json(json.dumps(document(nodes, links, **more)), REGISTRY)
    assert workflow.faults == ()
    return {
        key: {"class_type": n.class_type, "inputs": _plain(n.inputs)} for key, n in workflow.nodes.items()
    }


def _plain(inputs: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()}


NUMBER = drawn(1, "Number", [5], outputs=[("INT", "INT")])
SHOW = drawn(9, "Show", [], [("value", "*", 1)])


def test_widgets_and_links() -> None:
    add = drawn(2, "Add", [7, 8], [("a", "INT", 1)], [("INT", "INT")])
    show = drawn(3, "Show", [], [("value", "*", 2)])
    made = read([NUMBER, add, show], [[1, 1, 0, 2, 0, "INT"], [2, 2, 0, 3, 0, "INT"]])
    assert made == {
        "1": {"class_type": "Number", "inputs": {"value": 5}},
        "2": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": 8}},
        "3": {"class_type": "Show", "inputs": {"value": ["2", 0]}},
    }


def test_the_result_runs() -> None:
    workflow = Workflow.from_json(document([NUMBER, SHOW], [[1, 1, 0, 9, 0, "INT"]]), REGISTRY)
    assert validate(workflow, REGISTRY, Folders(models=())) == []
    result, _ = run(workflow, Executor(REGISTRY))
    assert result.values == {"9": (5,)}


ALL = {"seed": 7, "steps": 25, "cfg": 6.5, "method": "heun", "text": "a"}


@pytest.mark.parametrize(
    ("widgets", "expected"),
    [
        ([7, "randomize", 25, 6.5, "heun", "a"], ALL),
        ([7, 25, 6.5, "heun", "a"], ALL),
        ([7, True, 25, 6.5, "heun", "a"], ALL),
        ([7, False, 25, 6.5, "heun", "a"], ALL),
        ([7, "fixed", 25], {"seed": 7, "steps": 25}),
        ([7, "fixed", None, 6.5], {"seed": 7, "cfg": 6.5}),
        ([7, "increment", 25, 6.5, "heun", "a", "extra", 3], ALL),
        ({"seed": 7, "text": "x", "other": 1, "steps": None}, {"seed": 7, "text": "x"}),
        ([], {}),
        (None, {}),
        ("nonsense", {}),
        ([[1, 2]], {"seed": {"__value__": [1, 2]}}),
    ],
)  # fmt: skip
def test_widget_values_of_all_ages(widgets: Any, expected: dict[str, Any]) -> None:
    assert read([drawn(1, "Sampler", widgets, [("image", "IMAGE")])], [])["1"]["inputs"] == expected


def test_a_linked_widget_overrides_its_value() -> None:
    sampler = drawn(
        2, "Sampler", [7, "fixed", 25, 6.5, "heun", "a"], [("image", "IMAGE"), ("steps", "INT", 1)]
    )
    made = read([NUMBER, sampler], [[1, 1, 0, 2, 1, "INT"]])
    assert made["2"]["inputs"]["steps"] == ["1", 0]
    assert made["2"]["inputs"]["cfg"] == 6.5


def test_reroutes_and_primitives_vanish() -> None:
    reroutes = [drawn(i, "Reroute", None, [("", "*", i)], [("", "INT")]) for i in (10, 11)]
    primitive = drawn(12, "PrimitiveNode", [42, "fixed"], [], [("INT", "INT")])
    add = drawn(2, "Add", [0, 0], [("a", "INT", 1), ("b", "INT", 2)], [("INT", "INT")])
    links = [
        [10, 1, 0, 10, 0, "INT"],
        [11, 10, 0, 11, 0, "INT"],
        [1, 11, 0, 2, 0, "INT"],
        [2, 12, 0, 2, 1, "INT"],
    ]
    notes = [drawn(20, "Note", ["hello"]), drawn(21, "MarkdownNote", ["# hello"])]
    assert read([NUMBER, *reroutes, primitive, add, *notes], links) == {
        "1": {"class_type": "Number", "inputs": {"value": 5}},
        "2": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": 42}},
    }


def test_muted_nodes_are_left_out() -> None:
    muted = drawn(2, "Add", [1, 1], [("a", "INT", 1)], [("INT", "INT")], mode=2)
    show = drawn(3, "Show", [], [("value", "*", 2)])
    made = read([NUMBER, muted, show], [[1, 1, 0, 2, 0, "INT"], [2, 2, 0, 3, 0, "INT"]])
    assert made == {
        "1": {"class_type": "Number", "inputs": {"value": 5}},
        "3": {"class_type": "Show", "inputs": {}},
    }


def test_bypassed_nodes_hand_their_input_through() -> None:
    load = drawn(1, "LoadThing", ["a"], [], [("IMAGE", "IMAGE")])
    bypassed = drawn(
        2, "Sampler", [1], [("mask", "MASK", 7), ("image", "IMAGE", 1)], [("IMAGE", "IMAGE")], mode=4
    )
    again = {**bypassed, "id": 3, "inputs": [{"name": "image", "type": "IMAGE", "link": 2}]}
    show = drawn(4, "Show", [], [("value", "IMAGE", 3)])
    links = [[1, 1, 0, 2, 1, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"], [3, 3, 0, 4, 0, "IMAGE"]]
    assert read([load, bypassed, again, show], links)["4"]["inputs"] == {"value": ["1", 0]}


def test_a_bypassed_node_without_a_fitting_input_hands_nothing_on() -> None:
    bypassed = drawn(2, "LoadThing", ["a"], [], [("IMAGE", "IMAGE")], mode=4)
    show = drawn(4, "Show", [], [("value", "IMAGE", 3)])
    assert read([bypassed, show], [[3, 2, 0, 4, 0, "IMAGE"]])["4"]["inputs"] == {}


@pytest.mark.parametrize(("name", "kept"), [("Start", "Start"), ("Number", None), (7, None)])
def test_a_name_to_search_for_is_kept_where_it_is_not_the_class(name: Any, kept: str | None) -> None:
    named = drawn(1, "Number", [5], properties={"Node name for S&R": name})
    workflow = Workflow.from_json(document([named], []), REGISTRY)
    assert workflow.nodes["1"].meta.get("Node name for S&R") == kept


def test_looks_are_kept() -> None:
    framed = drawn(1, "Number", [5], title="Mine", pos=[30, 40], size={"0": 200, "1": 100}, color="#322")
    groups = [{"title": "Frame", "bounding": [0, 0, 100, 100]}, {"title": "Far", "bounding": [500, 0, 9, 9]}]
    workflow = Workflow.from_json(document([framed], [], groups=groups), REGISTRY)
    assert workflow.nodes["1"].meta == {
        "title": "Mine",
        "pos": [30, 40],
        "size": [200, 100],
        "color": "#322",
        "group": "Frame",
    }


def sub_graph() -> dict[str, Any]:
    """Adds its second input, a promoted widget, to its first, twice."""
    return {
        "id": "sub-uuid",
        "name": "Twice",
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
        "inputs": [{"name": "first", "type": "INT"}, {"name": "more", "type": "INT"}],
        "outputs": [{"name": "INT", "type": "INT"}],
        "nodes": [
            drawn(1, "Add", [0, 1], [("a", "INT", 1), ("b", "INT", 2)], [("INT", "INT")]),
            drawn(2, "Add", [0, 1], [("a", "INT", 3), ("b", "INT", 4)], [("INT", "INT")]),
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "INT"},
            {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 1, "target_slot": 1, "type": "INT"},
            {"id": 3, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "INT"},
            {"id": 4, "origin_id": -10, "origin_slot": 1, "target_id": 2, "target_slot": 1, "type": "INT"},
            {"id": 5, "origin_id": 2, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "INT"},
        ],
    }


def instance(node_id: int, link: int, widgets: Any) -> dict[str, Any]:
    made = drawn(node_id, "sub-uuid", widgets, [("first", "INT", link), ("more", "INT")], [("INT", "INT")])
    made["inputs"][1]["widget"] = {"name": "more"}
    return made


def test_sub_graphs_are_laid_out() -> None:
    links = [[1, 1, 0, 5, 0, "INT"], [2, 5, 0, 6, 0, "INT"], [3, 6, 0, 7, 0, "INT"]]
    nodes = [NUMBER, instance(5, 1, [10]), instance(6, 2, [100]), drawn(7, "Show", [], [("value", "*", 3)])]
    definitions = {"subgraphs": [sub_graph()]}
    made = read(nodes, links, definitions=definitions)
    assert made["5:1"]["inputs"] == {"a": ["1", 0], "b": 10}
    assert made["5:2"]["inputs"] == {"a": ["5:1", 0], "b": 10}
    assert made["6:1"]["inputs"] == {"a": ["5:2", 0], "b": 100}
    assert made["7"]["inputs"] == {"value": ["6:2", 0]}
    workflow = Workflow.from_json(document(nodes, links, definitions=definitions), REGISTRY)
    assert run(workflow)[0].values == {"7": (5 + 20 + 200,)}


def test_sub_graphs_in_sub_graphs() -> None:
    outer = {
        **sub_graph(),
        "id": "outer-uuid",
        "nodes": [instance(3, 1, [7])],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 3, "target_slot": 0, "type": "INT"},
            {"id": 2, "origin_id": 3, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "INT"},
        ],
    }
    nodes = [NUMBER, {**instance(5, 1, []), "type": "outer-uuid"}, drawn(7, "Show", [], [("value", "*", 3)])]
    links = [[1, 1, 0, 5, 0, "INT"], [3, 5, 0, 7, 0, "INT"]]
    made = read(nodes, links, definitions={"subgraphs": [sub_graph(), outer]})
    assert made["5:3:1"]["inputs"] == {"a": ["1", 0], "b": 7}
    assert made["7"]["inputs"] == {"value": ["5:3:2", 0]}


def test_a_bypassed_sub_graph_hands_its_input_through() -> None:
    nodes = [NUMBER, {**instance(5, 1, [1]), "mode": 4}, drawn(7, "Show", [], [("value", "INT", 3)])]
    links = [[1, 1, 0, 5, 0, "INT"], [3, 5, 0, 7, 0, "INT"]]
    made = read(nodes, links, definitions={"subgraphs": [sub_graph()]})
    assert set(made) == {"1", "7"}
    assert made["7"]["inputs"] == {"value": ["1", 0]}


def test_a_sub_graph_in_itself_is_refused() -> None:
    endless = {**sub_graph(), "nodes": [instance(3, 1, [])]}
    with pytest.raises(WorkflowError, match="contain themselves"):
        Workflow.from_json(document([instance(1, 1, [])], [], definitions={"subgraphs": [endless]}), REGISTRY)


def test_reroutes_in_a_ring_lead_nowhere() -> None:
    ring = [drawn(i, "Reroute", None, [("", "*", i)], [("", "*")]) for i in (1, 2)]
    show = drawn(3, "Show", [], [("value", "*", 3)])
    made = read([*ring, show], [[1, 2, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"], [3, 1, 0, 3, 0, "*"]])
    assert made["3"]["inputs"] == {}


def test_what_cannot_be_read_is_told() -> None:
    nodes = [NUMBER, NUMBER, 3, {"id": None}, drawn(4, "workflow/Old"), {"id": 5}]
    workflow = Workflow.from_json(document(nodes, [[1], "x", {"id": 2}]), REGISTRY)
    assert len(workflow.faults) == 8
    assert any("group node" in fault.message for fault in workflow.faults)
    with pytest.raises(WorkflowError, match="needs the registry"):
        Workflow.from_json(document([], []))


def test_an_unknown_class_keeps_its_links() -> None:
    unknown = drawn(2, "Mystery", [1, 2], [("a", "INT", 1)], [("INT", "INT")])
    workflow = Workflow.from_json(document([NUMBER, unknown], [[1, 1, 0, 2, 0, "INT"]]), REGISTRY)
    kinds = [fault.kind for fault in validate(workflow, REGISTRY, Folders(models=()))]
    assert kinds == ["missing_node_type", "prompt_no_outputs"]


anything = st.recursive(
    st.none() | st.integers(-20, 5) | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
sockets = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "value"]), "link": st.integers(0, 4) | anything}
)
wild_nodes = st.fixed_dictionaries(
    {"id": st.integers(0, 4) | anything},
    optional={
        "type": st.sampled_from(["Add", "Show", "Reroute", "PrimitiveNode", "Note", "Sampler", "sub"])
        | anything,
        "mode": st.sampled_from([0, 2, 4]) | anything,
        "inputs": st.lists(sockets | anything, max_size=3) | anything,
        "outputs": st.lists(anything, max_size=2) | anything,
        "widgets_values": anything,
        "pos": anything,
    },
)
ends = st.integers(-20, 4) | st.sampled_from([-10, -20])
wild_links = st.tuples(st.integers(0, 4), ends, st.integers(-1, 2), ends, st.integers(-1, 2)).map(list)
levels = st.fixed_dictionaries(
    {"nodes": st.lists(wild_nodes | anything, max_size=5)},
    optional={"links": st.lists(wild_links | anything, max_size=6) | anything, "groups": anything},
)


@given(levels, levels | anything)
def test_no_drawing_makes_it_crash(top: dict[str, Any], inner: Any) -> None:
    if isinstance(inner, dict):
        top = {**top, "definitions": {"subgraphs": [{**inner, "id": "sub"}]}}
    try:
        workflow = Workflow.from_json(top, REGISTRY)
    except WorkflowError:
        return
    validate(workflow, REGISTRY, Folders(models=()))


def test_an_empty_registry_reads_what_it_can() -> None:
    workflow = Workflow.from_json(document([NUMBER, SHOW], [[1, 1, 0, 9, 0, "INT"]]), Registry())
    assert set(workflow.nodes) == {"1", "9"}
