"""Evaluates arithmetic that a stranger may have written: a small part of Python's syntax, walked by hand, never run."""

import ast
import math
import operator
from collections.abc import Callable, Mapping

Number = int | float | bool

LONGEST = 1000
LARGEST = 1e300
_MOST_BITS = 1000
"""Of a whole number; as many as numbers below LARGEST have."""

_BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Number, Number], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs, "min": min, "max": max, "round": round, "floor": math.floor, "ceil": math.ceil,
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "log2": math.log2, "log10": math.log10,
    "sin": math.sin, "cos": math.cos, "tan": math.tan,
}  # fmt: skip
_CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "e": math.e}


def evaluate(expression: str, values: Mapping[str, Number]) -> Number:
    """The value of `expression`, whose names stand for `values`.

    Raises ValueError when it cannot be read, names something else, divides by 0, or leaves what numbers can be: whole
    ones and fractions below LARGEST.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"The expression has {len(expression)} characters; {LONGEST} are the most.")
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body, values)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"The expression {expression[:80]!r} cannot be read. Write arithmetic such as (a + 1) * 8."
        ) from error
    except ZeroDivisionError:
        raise ValueError(f"The expression {expression[:80]!r} divides by 0.") from None
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"The expression {expression[:80]!r}: {error}.") from error


def _value(part: ast.expr, values: Mapping[str, Number]) -> Number:
    match part:
        case ast.Constant(value=int() | float() as number):
            return _kept(number)
        case ast.Name(id=name):
            return _named(name, values)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand, values))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _kept(_power(_value(left, values), _value(right, values)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _kept(_BINARY[type(op)](_value(left, values), _value(right, values)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(left, ops, others, values)
        case ast.BoolOp(op=op, values=parts):
            return _decided(isinstance(op, ast.Or), parts, values)
        case ast.IfExp(test=test, body=yes, orelse=no):
            return _value(yes if _value(test, values) else no, values)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _kept(_FUNCTIONS[name](*(_value(argument, values) for argument in arguments)))
    raise ValueError(f"{ast.unparse(part)[:40]!r} is no arithmetic that can be computed here")


def _named(name: str, values: Mapping[str, Number]) -> Number:
    known = {**_CONSTANTS, **values}
    if name not in known:
        raise ValueError(f"there is no {name[:40]!r}; connect it, or use one of {', '.join(known)}")
    return known[name]


def _power(base: Number, exponent: Number) -> Number:
    """The limit is looked at first: 9**9**9 would take longer than anybody waits."""
    size = math.log2(abs(base)) if base else 0.0
    if size * exponent > _MOST_BITS:
        raise ValueError(f"{base} to the power of {exponent} is past {LARGEST:g}")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError(f"{base} to the power of {exponent} is no real number")
    return result


def _compared(
    left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr], values: Mapping[str, Number]
) -> bool:
    first = _value(left, values)
    for op, other in zip(ops, others, strict=True):
        if type(op) not in _COMPARE:
            raise ValueError("only <, <=, ==, !=, >= and > can be asked")
        second = _value(other, values)
        if not _COMPARE[type(op)](first, second):
            return False
        first = second
    return True


def _decided(stop_at: bool, parts: list[ast.expr], values: Mapping[str, Number]) -> Number:
    """`and` and `or` as Python has them: the value of the part that decides, and those behind it are not computed."""
    result: Number = stop_at
    for part in parts:
        result = _value(part, values)
        if bool(result) is stop_at:
            break
    return result


def _kept(number: Number) -> Number:
    if not isinstance(number, int | float):
        raise ValueError("it gives something that is no number")
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise ValueError(f"it leaves what numbers can be here, {LARGEST:g} at most")
    return number
