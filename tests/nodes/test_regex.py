"""Nodes for regular expressions: what they find, and that no expression holds up a run."""

from __future__ import annotations

import pytest

from nodes.matching import run_expression
from nodes.regex import regex_extract, regex_match, regex_replace

TEXT = "a red circle\nA blue Square\nred"


def test_matches() -> None:
    assert regex_match(string=TEXT, regex_pattern="SQUARE$", multiline=True)
    assert not regex_match(string=TEXT, regex_pattern="SQUARE$", case_insensitive=False, multiline=True)
    assert not regex_match(string=TEXT, regex_pattern="square$")
    assert regex_match(string=TEXT, regex_pattern="circle.a", dotall=True)
    assert not regex_match(string=TEXT, regex_pattern="circle.a")


@pytest.mark.parametrize(
    ("pattern", "mode", "group", "expected"),
    [
        (r"red|blue", "First Match", 1, "red"),
        (r"red|blue", "All Matches", 1, "red\nblue\nred"),
        (r"(red|blue) (\w+)", "All Matches", 1, "red\nblue"),
        (r"(red|blue) (\w+)", "First Group", 2, "circle"),
        (r"(red|blue) (\w+)", "First Group", 0, "red circle"),
        (r"(red|blue) (\w+)", "All Groups", 2, "circle\nSquare"),
        (r"(red|blue) (\w+)", "All Groups", 3, ""),
        (r"red|blue", "First Group", 1, ""),
        (r"red|blue", "All Groups", 0, ""),
        (r"(x)?red", "All Matches", 1, "\n"),
        (r"green", "First Match", 1, ""),
        (r"green", "All Matches", 1, ""),
    ],
)
def test_what_is_extracted(pattern: str, mode: str, group: int, expected: str) -> None:
    assert regex_extract(string=TEXT, regex_pattern=pattern, mode=mode, group_index=group) == expected


def test_what_is_replaced() -> None:
    assert regex_replace(string="a1 b22", regex_pattern=r"(\w)(\d+)", replace=r"\2\1") == "1a 22b"
    assert regex_replace(string="aAa", regex_pattern="A", replace="x", count=2) == "xxa"
    assert regex_replace(string="aAa", regex_pattern="A", replace="x", case_insensitive=False) == "axa"
    assert regex_replace(string="é\ud800", regex_pattern="é", replace="ü") == "ü\ud800"


@pytest.mark.parametrize("pattern", ["(", "*a", "[", "a{2,1}", r"\k"])
def test_a_wrong_expression_is_said(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"The regular expression .*: "):
        regex_match(string="x", regex_pattern=pattern)


def test_a_wrong_replacement_is_said() -> None:
    with pytest.raises(ValueError, match="invalid group reference"):
        regex_replace(string="x", regex_pattern="x", replace=r"\7")


def test_an_expression_that_never_ends_is_stopped() -> None:
    with pytest.raises(ValueError, match=r"took longer than 1 seconds .* was stopped"):
        run_expression("match", r"(a+)+$", "a" * 60 + "b", "", seconds=1)


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="text has 1000001 characters"):
        regex_match(string="a" * 1_000_001, regex_pattern="b")
    with pytest.raises(ValueError, match="expression has 10001 characters"):
        regex_match(string="a", regex_pattern="b" * 10_001)
    with pytest.raises(ValueError, match="result is longer than"):
        regex_replace(string="a" * 5000, regex_pattern="a", replace="b" * 5000)
    with pytest.raises(ValueError, match="needed more memory"):
        run_expression("match", r"(.|\n)*", "a" * 900_000, "", memory=50 << 20)
