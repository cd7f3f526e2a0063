"""Lists: fanning a list out to one call per item, and collecting what the calls give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from graph.errors import ValueRefused
from graph.spec import NodeSpec
from graph.values import Shown

MOST_ITEMS = 1_000_000
"""That the calls of one node may give in all."""


class Items(tuple[Any, ...]):
    """Values that go along a link one by one. A value that is a sequence itself is never of this type."""

    __slots__ = ()

    def __new__(cls, items: Iterable[Any] = ()) -> Items:
        return super().__new__(cls, items)


def calls(spec: NodeSpec, inputs: Mapping[str, Any]) -> int | None:
    """How often a node is called for these inputs; None if no list is fanned out, which makes one call."""
    longest = None
    for name, value in inputs.items():
        if type(value) is Items and name not in spec.whole_lists:
            if not value:
                return 0
            longest = max(longest or 0, len(value))
    return longest


def arguments(spec: NodeSpec, inputs: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The arguments of call number `index`. A list that is too short repeats its last item."""
    whole = spec.whole_lists
    return {name: _whole(value) if name in whole else at(value, index) for name, value in inputs.items()}


def at(value: Any, index: int) -> Any:
    """Item number `index` of a fanned-out list, its last one beyond the end; any other value as it is."""
    return value[min(index, len(value) - 1)] if type(value) is Items else value


def _whole(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return list(value) if type(value) is Items else [value]


def collect(spec: NodeSpec, results: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The outputs of a node that was called once per item."""
    return tuple(Items(_flat(result[index] for result in results)) for index in range(len(spec.outputs)))


def grown(spec: NodeSpec, items: int, result: Any) -> int:
    """How long the longest of a node's lists may be with one more call's result. Raises ValueRefused past MOST_ITEMS.

    A list of lists is one list, so that a few nodes in a row could otherwise fill any memory.
    """
    given = result.value if isinstance(result, Shown) else result
    values = given if spec.named and isinstance(given, tuple) else (given,)
    items += max((len(value) for value in values if isinstance(value, list | tuple)), default=0)
    if items > MOST_ITEMS:
        raise ValueRefused(
            f"its calls, one for each item of a list, gave more than {MOST_ITEMS} items. Shorten one of the lists, "
            "or take fewer of its items with ListSlice."
        )
    return items


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if type(value) is Items:
            yield from value
        else:
            yield value


def merge_ui(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What an editor shows of several calls: lists under the same name are joined."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            known = merged.get(name)
            both_lists = isinstance(known, list | tuple) and isinstance(value, list | tuple)
            merged[name] = [*known, *value] if known is not None and both_lists else value
    return merged
