"""Lists: fanning a list out to one call per item, and collecting what the calls give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from graph.spec import NodeSpec


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
