"""Nodes for numbers: expressions, comparisons, ranges."""

from typing import Annotated, NamedTuple

from graph import Choice, node
from nodes.expressions import Number, evaluate

Given = int | float | None


class Result(NamedTuple):
    """One number in each of the types that inputs ask for."""

    INT: int
    FLOAT: float
    BOOLEAN: bool


@node("MathExpression", title="Math Expression", category="utils/number")
def math_expression(
    *, expression: str = "a + b", a: Given = None, b: Given = None, c: Given = None, d: Given = None
) -> Result:
    """Compute with numbers, as in `min(a, 64) * 8 + b / 2`.

    Inputs:
        expression: What to compute, in 1000 characters at most: + - * / // % **, comparisons, and, or, not,
            `x if y else z`, the constants pi and e, and the functions abs, min, max, round, floor, ceil, sqrt, exp,
            log, log2, log10, sin, cos, tan. Numbers stay below 1e300.
        a: The value of a.
        b: The value of b.
        c: The value of c.
        d: The value of d.

    Outputs:
        INT: The result without what is behind its point.
        FLOAT: The result.
        BOOLEAN: Whether it differs from 0.
    """
    given = {"a": a, "b": b, "c": c, "d": d}
    result = evaluate(expression, {name: value for name, value in given.items() if value is not None})
    return Result(int(result), float(result), bool(result))


@node("CompareNumbers", title="Compare Numbers", category="utils/number")
def compare_numbers(
    *,
    a: int | float,
    b: int | float,
    comparison: Annotated[str, Choice(("a < b", "a <= b", "a == b", "a != b", "a >= b", "a > b"))] = "a < b",
) -> bool:
    """How two numbers compare.

    Inputs:
        a: The first number.
        b: The second number.
        comparison: What to ask.

    Outputs:
        BOOLEAN: Whether it is so.
    """
    values: dict[str, Number] = {"a": a, "b": b}
    return bool(evaluate(comparison, values))
