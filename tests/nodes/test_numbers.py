"""Nodes for numbers and lists of numbers: against Python's own arithmetic, and what a stranger may not do."""

from __future__ import annotations

import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.expressions import evaluate
from nodes.numbers import compare_numbers, math_expression
from nodes.series import read_series


@pytest.mark.parametrize(
    "expression",
    [
        "1 + 2 * 3 - 4 / 5",
        "-7 // 2 + -7 % 3",
        "2 ** 10 + 2 ** -1",
        "min(a, 64) * 8 + max(b, 1, 2)",
        "round(b, 1) + floor(b) - ceil(b) + abs(-a)",
        "sqrt(a) + exp(1) + log(a) + log2(a) + log10(a) + sin(pi) + cos(e) + tan(1)",
        "a if a > b else b",
        "1 < a <= 9 and not b == 3",
        "0 or a",
        "a and 0 and 1 / 0",
        "(a > 100) or (b != 2.75)",
        "1_000 + 0x10",
    ],
)
def test_arithmetic_is_pythons(expression: str) -> None:
    names = {name: getattr(math, name) for name in dir(math) if not name.startswith("_")}
    expected = eval(expression, names | {"a": 9, "b": 2.75})
    result = evaluate(expression, {"a": 9, "b": 2.75})
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("__import__('os').system('true')", "no arithmetic"),
        ("().__class__", "no arithmetic"),
        ("(lambda: 1)()", "no arithmetic"),
        ("[1][0]", "no arithmetic"),
        ("'a' * 9", "no arithmetic"),
        ("1 << 9", "no arithmetic"),
        ("min(*a)", "no arithmetic"),
        ("round(a, ndigits=1)", "no arithmetic"),
        ("1j", "no arithmetic"),
        ("(x := 3)", "no arithmetic"),
        ("min", "there is no 'min'"),
        ("q + 1", "there is no 'q'; connect it, or use one of pi, e, a"),
        ("9 ** 9 ** 9 ** 9", "past 1e\\+300"),
        ("(-8) ** 0.5", "no real number"),
        ("1e200 * 1e200", "1e\\+300 at most"),
        ("10.0 ** 200 * 10 ** 200", "1e\\+300 at most"),
        ("9" * 400, "1e\\+300 at most|too large"),
        ("1 / 0", "divides by 0"),
        ("1 % 0", "divides by 0"),
        ("0 ** -1", "divides by 0"),
        ("sqrt(-1)", "sqrt|math domain error|nonnegative"),
        ("exp(999)", "range"),
        ("min()", "argument"),
        ("1 is 1", "only <"),
        ("", "cannot be read"),
        ("1 +", "cannot be read"),
        ("a = 1", "cannot be read"),
        ("(" * 300 + ")" * 300, "cannot be read"),
        ("\0", "cannot be read|null"),
        ("1" * 1001, "1001 characters"),
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_what_is_no_arithmetic_is_said(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate(expression, {"a": 4})


def test_a_deep_expression_ends_somehow() -> None:
    """How deep is too deep is Python's affair, and changes with what else is loaded."""
    message = ""
    try:
        assert evaluate("-" * 998 + "1", {}) == 1
    except ValueError as error:
        message = str(error)
    assert not message or "cannot be read" in message


@given(st.text(alphabet="0123456789+-*/%.()<>=! abe,", max_size=30))
@pytest.mark.filterwarnings("ignore")
def test_any_text_gives_a_number_or_a_message(expression: str) -> None:
    try:
        result = evaluate(expression, {"a": 3, "b": 0.5})
    except ValueError:
        return
    assert math.isfinite(result)


def test_a_result_comes_in_every_type() -> None:
    assert math_expression(expression="a / b", a=7, b=-2) == (-3, -3.5, True)
    assert math_expression(expression="a - c", a=7, c=7.0) == (0, 0.0, False)
    with pytest.raises(ValueError, match="there is no 'd'"):
        math_expression(expression="a + d", a=1)


@pytest.mark.parametrize(
    ("sign", "compare"),
    [
        ("<", operator.lt),
        ("<=", operator.le),
        ("==", operator.eq),
        ("!=", operator.ne),
        (">=", operator.ge),
        (">", operator.gt),
    ],
)
def test_numbers_are_compared(sign: str, compare: object) -> None:
    assert callable(compare)
    for a, b in ((1, 2), (2, 2.0), (3, 2.5)):
        assert compare_numbers(a=a, b=b, comparison=f"a {sign} b") == compare(a, b)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("euler, dpmpp_2m ,, heun\nlms", "text", ["euler", "dpmpp_2m", "heun", "lms"]),
        ("1-4, 10", "whole numbers", [1, 2, 3, 4, 10]),
        ("4-1", "whole numbers", [4, 3, 2, 1]),
        ("1-10 (+3)", "whole numbers", [1, 4, 7, 10]),
        ("-3--1", "whole numbers", [-3, -2, -1]),
        ("18446744073709551615", "whole numbers", [2**64 - 1]),
        ("0-1 [5]", "numbers", [0, 0.25, 0.5, 0.75, 1]),
        ("0-0.3 (+0.1), 1e-3, .5", "numbers", [0, 0.1, 0.2, 0.3, 0.001, 0.5]),
        ("7 [1]", "text", ["7 [1]"]),
        ("", "numbers", []),
    ],
)
def test_lists_are_read(text: str, kind: str, expected: list[object]) -> None:
    assert read_series(text, kind, ",") == expected


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("1, two", "numbers", "'two' is no number"),
        ("1.5", "whole numbers", "not whole"),
        ("0-1 [5]", "whole numbers", "not whole"),
        ("1-5 (-1)", "numbers", "never lead"),
        ("1-5 (0)", "numbers", "never lead"),
        ("0-999999", "whole numbers", "1000000 items; 10000"),
        ("0-1 [99999]", "numbers", "99999 items"),
        ("1e400", "numbers", "not finite"),
        ("0-1e400", "numbers", "no end"),
        ("1" * 61, "whole numbers", "is no number"),
        ("," * 20_000, "text", "20001 items"),
    ],
)
def test_what_is_no_list_is_said(text: str, kind: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_series(text, kind, ",")
