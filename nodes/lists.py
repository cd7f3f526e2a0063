"""Nodes that make and take lists. What is linked to a list runs once for each of its items: the for-each loop."""

from typing import Annotated, Any

from graph import Choice, Range, Text, node
from nodes.limits import MOST_ITEMS, check_items, limited
from nodes.series import read_series

LongText = Annotated[str, Text(multiline=True)]
Position = Annotated[int, Range(-MOST_ITEMS, MOST_ITEMS)]


@node("MakeList", title="Make List", category="utils/list")
def make_list(
    *,
    list1: list[Any] | None = None,
    list2: list[Any] | None = None,
    list3: list[Any] | None = None,
    list4: list[Any] | None = None,
    list5: list[Any] | None = None,
    list6: list[Any] | None = None,
    list7: list[Any] | None = None,
    list8: list[Any] | None = None,
) -> list[Any]:
    """One list of several values, in order. Each may be a list itself, whose items are taken one by one.

    Inputs:
        list1: The first value, or list.
        list2: The next.
        list3: The next.
        list4: The next.
        list5: The next.
        list6: The next.
        list7: The next.
        list8: The last.

    Outputs:
        value: The items, one by one, 10000 at most.
    """
    given = (list1, list2, list3, list4, list5, list6, list7, list8)
    items = [item for part in given if part is not None for item in part]
    check_items(len(items))
    return items


@node("ListLength", title="List Length", category="utils/list")
def list_length(*, values: list[Any]) -> int:
    """How many items a list has.

    Inputs:
        values: The list; a single value is a list of one.

    Outputs:
        INT: The number of items.
    """
    return len(values)


@node("ListItem", title="List Item", category="utils/list")
def list_item(*, values: list[Any], index: list[Position]) -> Any:
    """One item of a list.

    Inputs:
        values: The list.
        index: Which, counted from 0; below 0 counts from the end.

    Outputs:
        value: The item.
    """
    if not index or not -len(values) <= index[0] < len(values):
        wanted = index[0] if index else "nothing"
        raise ValueError(f"The list has {len(values)} items, counted from 0; asked for was {wanted}.")
    return values[index[0]]


@node("ListSlice", title="List Slice", category="utils/list")
def list_slice(*, values: list[Any], start: list[Position], length: list[Position]) -> list[Any]:
    """Some items of a list.

    Inputs:
        values: The list.
        start: The first, counted from 0; below 0 counts from the end.
        length: How many; fewer at the end.

    Outputs:
        value: The items, one by one.
    """
    if not start or not length or length[0] < 0:
        raise ValueError("start and length are one number each, and length is not below 0.")
    return values[start[0] :][: length[0]]


@node("NumberRange", title="Number Range", category="utils/list")
def number_range(
    *,
    start: Annotated[int, Range(-(2**63), 2**63)] = 0,
    count: Annotated[int, Range(0, MOST_ITEMS)] = 4,
    step: Annotated[int, Range(-(2**32), 2**32)] = 1,
) -> list[int]:
    """A list of whole numbers: seeds, say.

    Inputs:
        start: The first.
        count: How many.
        step: From each to the next.

    Outputs:
        INT: The numbers, one by one.
    """
    return [start + step * i for i in range(count)]


@node("NumberSpread", title="Number Spread", category="utils/list")
def number_spread(
    *, first: float = 0.0, last: float = 1.0, count: Annotated[int, Range(1, MOST_ITEMS)] = 5
) -> list[float]:
    """A list of numbers, evenly spread: strengths, say.

    Inputs:
        first: The first number.
        last: The last number; not reached when count is 1.
        count: How many.

    Outputs:
        FLOAT: The numbers, one by one.
    """
    between = max(1, count - 1)
    return [first + (last - first) * i / between for i in range(count)]


@node("ParseList", title="List from Text", category="utils/list")
def parse_list(
    *,
    text: LongText,
    kind: Annotated[str, Choice(("text", "whole numbers", "numbers"))] = "text",
    separator: str = ",",
) -> list[Any]:
    """A list out of text, as in `euler, heun` or `1-3, 10`.

    Inputs:
        text: The items.
        kind: What they are. Numbers may be ranges: `1-5`, `1-10 (+3)` by steps, `0-1 [5]` spread over five.
        separator: What stands between items; an end of line separates too. Space around items is left out.

    Outputs:
        value: The items, one by one, 10000 at most. They fit any input of their kind.
    """
    return read_series(text, kind, separator)


@node("SplitText", title="Split Text", category="utils/string")
def split_text(*, text: LongText, separator: str = "\\n", keep_empty: bool = False) -> list[str]:
    """A list of the parts of a text.

    Inputs:
        text: The text.
        separator: What stands between the parts; \\n is the end of a line, \\t a tab.
        keep_empty: Whether parts with nothing in them count.

    Outputs:
        STRING: The parts, one by one, 10000 at most.
    """
    mark = _unescaped(separator)
    if not mark:
        raise ValueError("The separator is empty; write what stands between the parts, \\n for lines.")
    check_items(text.count(mark) + 1)
    return [part for part in text.split(mark) if keep_empty or part.strip()]


@node("JoinText", title="Join Text", category="utils/string")
def join_text(*, texts: list[str], separator: list[str]) -> str:
    """The texts of a list as one.

    Inputs:
        texts: The list.
        separator: What to put between them; \\n is the end of a line, \\t a tab.

    Outputs:
        STRING: The joined text.
    """
    return limited(_unescaped(separator[0] if separator else "").join(texts))


def _unescaped(separator: str) -> str:
    return separator.replace("\\n", "\n").replace("\\t", "\t")
