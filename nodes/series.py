"""Reads lists that people write: texts, numbers, and ranges of numbers."""

import math
import re

from nodes.limits import check_items

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*({_NUMBER})\s*\)|\[\s*(\d{{1,5}})\s*\])?")
_LONGEST_NUMBER = 60


def read_series(text: str, kind: str, separator: str) -> list[str] | list[int] | list[float]:
    """The items of `text`. kind: "text", "whole numbers" or "numbers".

    Numbers may be ranges: `1-5`, `1-10 (+3)` by steps, `0-1 [5]` spread over that many. Raises ValueError for what is
    no number, and for more than 10000 items.
    """
    check_items(text.count("\n") + (text.count(separator) if separator else 0) + 1)
    lines = text.splitlines()
    parts = [part.strip() for line in lines for part in (line.split(separator) if separator else [line])]
    items = [part for part in parts if part]
    if kind == "text":
        return items
    numbers: list[float] = []
    for item in items:
        numbers.extend(_numbers(item, whole=kind == "whole numbers"))
        check_items(len(numbers))
    return numbers


def _numbers(item: str, *, whole: bool) -> list[float]:
    """One number, or those of a range; whole numbers stay whole, however large."""
    if len(item) <= _LONGEST_NUMBER:
        if re.fullmatch(r"[-+]?\d+", item):
            return [int(item) if whole else float(item)]
        spread = _RANGE.fullmatch(item)
        if spread is not None:
            return _checked(_range(*spread.groups()), item, whole=whole)
        if re.fullmatch(_NUMBER, item):
            return _checked([float(item)], item, whole=whole)
    raise ValueError(
        f"{item[:60]!r} is no number and no range of numbers. Write 3, 1-5, 1-10 (+3) or 0-1 [5], with the separator "
        "between them."
    )


def _range(first: str, last: str, step: str | None, count: str | None) -> list[float]:
    start, end = float(first), float(last)
    if count is not None:
        check_items(int(count))
        between = max(1, int(count) - 1)
        return [start + (end - start) * i / between for i in range(int(count))]
    by = float(step) if step is not None else math.copysign(1.0, end - start)
    if by == 0 or (end - start) * by < 0:
        raise ValueError(
            f"Steps of {by:g} never lead from {first} to {last}. Turn the sign, or the range, round."
        )
    if not math.isfinite((end - start) / by):
        raise ValueError(f"The range from {first} to {last} has no end.")
    # A hair more than the quotient, so that 0-1 (+0.1) reaches its end in spite of rounding.
    steps = math.floor((end - start) / by + 1e-9)
    check_items(steps + 1)
    return [start + by * i for i in range(steps + 1)]


def _checked(numbers: list[float], item: str, *, whole: bool) -> list[float]:
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{item[:60]!r} is not finite.")
    if not whole:
        # 0.1 + 0.2 as people write it.
        return [float(f"{number:.12g}") for number in numbers]
    if any(number != int(number) for number in numbers):
        raise ValueError(f"{item[:60]!r} gives numbers that are not whole; choose the kind numbers.")
    return [int(number) for number in numbers]
