"""Lists and switches in running workflows: each item on its own, and only the branch that is taken."""

from __future__ import annotations

from typing import Any

import pytest

from graph import Executor, Items, Link, Node, Workflow
from nodes import REGISTRY
from nodes.lists import (
    join_text,
    list_item,
    list_length,
    list_slice,
    make_list,
    number_range,
    parse_list,
    split_text,
)
from nodes.logic import boolean_logic, index_switch, switch
from nodes.numbers import math_expression
from nodes.text import string_concatenate, string_length, string_replace
from nodes.values import primitive_int, show_text


def run(target: str, **nodes: Node) -> Any:
    result = Executor(REGISTRY).run(Workflow(nodes), targets=[target])
    assert result.errors == ()
    return result.values[target][0]


def test_a_node_runs_for_each_item_and_the_results_are_joined() -> None:
    made = run(
        "out",
        words=Node("ParseList", {"text": "circle, square, star"}),
        each=Node.of(string_concatenate, string_a="a red", string_b=Link("words"), delimiter=" "),
        out=Node("JoinText", {"texts": Link("each"), "separator": "\\n"}),
    )
    assert made == "a red circle\na red square\na red star"


def test_lists_are_made_measured_and_taken_apart() -> None:
    assert make_list(list1=[1, 2], list3=["a"]) == [1, 2, "a"]
    assert list_length(values=[1, 2, 3]) == 3
    assert list_item(values=["a", "b"], index=[-1]) == "b"
    assert list_slice(values=[1, 2, 3, 4], start=[-3], length=[2]) == [2, 3]
    assert number_range(start=5, count=3, step=-2) == [5, 3, 1]
    assert parse_list(text="1-3", kind="whole numbers") == [1, 2, 3]
    assert split_text(text="a; b;;c", separator=";") == ["a", " b", "c"]
    assert split_text(text="a\n\nb", keep_empty=True) == ["a", "", "b"]
    assert join_text(texts=["a", "b"], separator=["\\t"]) == "a\tb"
    spread = run("s", s=Node("NumberSpread", {"first": 1.0, "last": 2.0, "count": 3}))
    assert spread == Items([1.0, 1.5, 2.0])


def test_what_lists_do_not_have_is_said() -> None:
    with pytest.raises(ValueError, match="2 items, counted from 0; asked for was 2"):
        list_item(values=[1, 2], index=[2])
    with pytest.raises(ValueError, match="0 items"):
        list_item(values=[], index=[0])
    with pytest.raises(ValueError, match="length is not below 0"):
        list_slice(values=[1], start=[0], length=[-1])
    with pytest.raises(ValueError, match="separator is empty"):
        split_text(text="a", separator="")
    with pytest.raises(ValueError, match="20000 items; 10000"):
        make_list(list1=[0] * 10_000, list2=[0] * 10_000)


def test_numbers_of_a_list_go_into_numbers() -> None:
    made = run(
        "out",
        seeds=Node("ParseList", {"text": "1-3", "kind": "whole numbers"}),
        twice=Node.of(math_expression, expression="a * 2", a=Link("seeds")),
        out=Node.of(primitive_int, value=Link("twice")),
    )
    assert made == Items([2, 4, 6])


def test_every_text_is_shown_and_passed_on() -> None:
    nodes = {
        "words": Node("ParseList", {"text": "a,b"}),
        "show": Node.of(show_text, text=Link("words")),
        "out": Node.of(string_length, string=Link("show")),
    }
    result = Executor(REGISTRY).run(Workflow(nodes), targets=["out"])
    assert result.ui == {"show": {"text": ["a", "b"]}}
    assert result.values["out"] == (Items([1, 1]),)


@pytest.mark.parametrize(("which", "expected", "idle"), [(True, "yes", "no"), (False, "no", "yes")])
def test_only_the_branch_that_is_taken_runs(which: bool, expected: str, idle: str) -> None:
    nodes = {
        "yes": Node.of(string_replace, string="Yes", find="Y", replace="y"),
        "no": Node.of(string_replace, string="No", find="N", replace="n"),
        "flag": Node.of(boolean_logic, a=which, b=True),
        "out": Node.of(switch, switch=Link("flag"), on_true=Link("yes"), on_false=Link("no")),
    }
    result = Executor(REGISTRY).run(Workflow(nodes), targets=["out"])
    assert result.values["out"] == (expected,)
    assert idle not in result.timings


def test_a_branch_is_chosen_by_number() -> None:
    nodes = {
        "a": Node.of(primitive_int, value=10),
        "b": Node.of(primitive_int, value=20),
        "out": Node.of(index_switch, index=3, value0=Link("a"), value3=Link("b")),
    }
    result = Executor(REGISTRY).run(Workflow(nodes), targets=["out"])
    assert result.values["out"] == (20,)
    assert "a" not in result.timings
    with pytest.raises(ValueError, match=r"value2\. Connected: none"):
        index_switch(index=2)


def test_truth_values() -> None:
    pairs = [(a, b) for a in (False, True) for b in (False, True)]

    def table(operation: str) -> list[bool]:
        return [boolean_logic(a=a, b=b, operation=operation) for a, b in pairs]

    assert table("a and b") == [False, False, False, True]
    assert table("a or b") == [False, True, True, True]
    assert table("a xor b") == [False, True, True, False]
    assert table("not a") == [True, True, False, False]
    assert table("a and not b") == [False, False, True, False]
