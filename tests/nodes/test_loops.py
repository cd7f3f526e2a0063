"""Loops in running workflows: rounds, values carried along, what lies outside, loops within loops."""

from __future__ import annotations

from typing import Any

import pytest

from graph import Cache, Executor, Link, Node, RunResult, Workflow
from graph import run as running
from nodes import REGISTRY
from nodes.numbers import compare_numbers, math_expression
from nodes.text import string_concatenate, string_format


def run(nodes: dict[str, Node], *, executor: Executor | None = None) -> RunResult:
    return (executor or Executor(REGISTRY)).run(Workflow(nodes), targets=["out"])


def value(result: RunResult, output: int = 0) -> Any:
    assert result.errors == ()
    return result.values["out"][output]


def counting(total: int) -> dict[str, Node]:
    """Writes the numbers of the rounds one after the other, with a word from outside of the loop."""
    return {
        "word": Node.of(string_concatenate, string_a="n", string_b="="),
        "start": Node("ForLoopStart", {"total": total, "value1": ">", "value2": 1}),
        "text": Node.of(
            string_format, template="{a} {b}{c}", a=Link("start", 2), b=Link("word"), c=Link("start", 1)
        ),
        "twice": Node.of(math_expression, expression="a * 2", a=Link("start", 3)),
        "out": Node("ForLoopEnd", {"loop": Link("start"), "value1": Link("text"), "value2": Link("twice")}),
    }


def test_a_loop_carries_its_values_from_round_to_round() -> None:
    result = run(counting(4))
    assert value(result) == "> n=0 n=1 n=2 n=3"
    assert value(result, 1) == 16
    assert value(result, 2) is None


def test_one_round_and_none() -> None:
    assert value(run(counting(1))) == "> n=0"
    result = run(counting(0))
    assert (value(result), value(result, 1)) == (">", 1)
    assert "text" not in result.timings


def test_a_value_that_does_not_come_to_the_end_stays() -> None:
    nodes = counting(3)
    nodes["out"] = Node("ForLoopEnd", {"loop": Link("start"), "value1": Link("text")})
    assert value(run(nodes), 1) == 1


def test_a_loop_is_cached_and_runs_anew_from_what_changed() -> None:
    executor = Executor(REGISTRY)
    assert value(run(counting(4), executor=executor)) == "> n=0 n=1 n=2 n=3"
    assert run(counting(4), executor=executor).timings == {}
    nodes = counting(4)
    nodes["word"] = Node.of(string_concatenate, string_a="m", string_b="=")
    assert value(run(nodes, executor=executor)) == "> m=0 m=1 m=2 m=3"


def test_what_lies_outside_runs_once_though_nothing_is_cached() -> None:
    result = run(counting(50), executor=Executor(REGISTRY, cache=Cache(max_bytes=0)))
    assert value(result).endswith("n=48 n=49")
    assert sum(name == "word" for name in result.timings) == 1


def test_a_long_loop_needs_no_stack() -> None:
    assert value(run(counting(600)), 1) == 2**600


def test_a_loop_goes_on_while_its_condition_holds() -> None:
    nodes = {
        "start": Node("WhileLoopStart", {"value1": 1}),
        "next": Node.of(math_expression, expression="a * 3", a=Link("start", 2)),
        "small": Node.of(compare_numbers, a=Link("next"), b=100, comparison="a < b"),
        "out": Node(
            "WhileLoopEnd", {"loop": Link("start"), "condition": Link("small"), "value1": Link("next")}
        ),
    }
    assert value(run(nodes)) == 243
    nodes["small"] = Node.of(compare_numbers, a=Link("next"), b=2, comparison="a < b")
    assert value(run(nodes)) == 3
    nodes["small"] = Node.of(compare_numbers, a=1, b=2, comparison="a < b")
    (error,) = run(nodes).errors
    assert "has run 100 times and its condition still holds" in error.message


def nested(rounds: int) -> dict[str, Node]:
    """Writes outer and inner numbers: the inner loop's body also uses a value made in the outer loop's round."""
    return {
        "o": Node("ForLoopStart", {"total": rounds, "value1": ""}),
        "letter": Node.of(string_format, template="<{a}>", a=Link("o", 1)),
        "i": Node("ForLoopStart", {"total": rounds + 1, "value1": Link("o", 2)}),
        "line": Node.of(
            string_format, template="{a}{b}{c} ", a=Link("i", 2), b=Link("letter"), c=Link("i", 1)
        ),
        "inner": Node("ForLoopEnd", {"loop": Link("i"), "value1": Link("line")}),
        "out": Node("ForLoopEnd", {"loop": Link("o"), "value1": Link("inner")}),
    }


@pytest.mark.parametrize("cache", [None, 0])
def test_a_loop_within_a_loop(cache: int | None) -> None:
    executor = Executor(REGISTRY) if cache is None else Executor(REGISTRY, cache=Cache(max_bytes=cache))
    expected = "".join(f"<{outer}>{inner} " for outer in range(3) for inner in range(4))
    assert value(run(nested(3), executor=executor)) == expected


def test_three_loops_deep() -> None:
    nodes: dict[str, Node] = {}
    for depth in "abc":
        outside = {"a": "", "b": Link("a", 2), "c": Link("b", 2)}[depth]
        nodes[depth] = Node("ForLoopStart", {"total": 2, "value1": outside})
    nodes["line"] = Node.of(
        string_format,
        template="{a}{b}{c}{d} ",
        a=Link("c", 2),
        b=Link("a", 1),
        c=Link("b", 1),
        d=Link("c", 1),
    )
    nodes["c-end"] = Node("ForLoopEnd", {"loop": Link("c"), "value1": Link("line")})
    nodes["b-end"] = Node("ForLoopEnd", {"loop": Link("b"), "value1": Link("c-end")})
    nodes["out"] = Node("ForLoopEnd", {"loop": Link("a"), "value1": Link("b-end")})
    expected = "".join(f"{a}{b}{c} " for a in range(2) for b in range(2) for c in range(2))
    assert value(run(nodes)) == expected


def test_a_list_runs_a_loop_for_each_item() -> None:
    nodes = counting(2)
    nodes["list"] = Node("ParseList", {"text": "x, y"})
    nodes["start"] = Node("ForLoopStart", {"total": 2, "value1": Link("list"), "value2": 1})
    assert list(value(run(nodes))) == ["x n=0 n=1", "y n=0 n=1"]


def test_constant_lists_in_the_body_stay_lists() -> None:
    nodes = {
        "start": Node("ForLoopStart", {"total": 3, "value1": 0}),
        "pick": Node("ListItem", {"values": {"__value__": [10, 20, 30]}, "index": Link("start", 1)}),
        "sum": Node.of(math_expression, expression="a + b", a=Link("start", 2), b=Link("pick")),
        "out": Node("ForLoopEnd", {"loop": Link("start"), "value1": Link("sum")}),
    }
    assert value(run(nodes)) == 60


def test_wrong_loops_are_said() -> None:
    nodes = counting(2)
    nodes["second"] = Node("ForLoopEnd", {"loop": Link("start"), "value1": Link("text")})
    assert "connected to 2 ends" in run(nodes).errors[0].message
    nodes = counting(2)
    nodes["out"] = Node("WhileLoopEnd", {"loop": Link("start"), "condition": True})
    assert "connected to a For Loop: Start" in run(nodes).errors[0].message
    nodes["start"] = Node("WhileLoopStart", {"value1": ">", "value2": 1})
    nodes["out"] = Node("ForLoopEnd", {"loop": Link("start")})
    assert "connected to a While Loop: Start" in run(nodes).errors[0].message


def test_what_fails_in_a_later_round_is_told() -> None:
    nodes = counting(4)
    nodes["twice"] = Node.of(math_expression, expression="1 / (a - 2)", a=Link("start", 1))
    (error,) = run(nodes).errors
    assert (error.origin, error.class_type) == ("out", "MathExpression")
    assert "divides by 0" in error.message


def test_a_loop_that_doubles_itself_in_every_round_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_EXPANSIONS", 100)
    nodes = {
        "start": Node("ForLoopStart", {"total": 100, "value1": 1}),
        "both": Node("MakeList", {"list1": Link("start", 2), "list2": Link("start", 2)}),
        "out": Node("ForLoopEnd", {"loop": Link("start"), "value1": Link("both")}),
    }
    error = run(nodes).errors[0]
    assert (error.origin, error.class_type) == ("out", "ForLoopEnd")
    assert "has had 100 rounds of loops" in error.message
    assert "keep lists out of the values that a loop carries" in error.message


def test_what_is_no_loop_is_not_taken_for_one() -> None:
    nodes = {"list": Node("MakeList", {"list1": 5}), "out": Node("ForLoopEnd", {"loop": Link("list")})}
    (error,) = run(nodes).errors
    assert error.message.startswith("input loop: found 5, expected a value of type LOOP")
