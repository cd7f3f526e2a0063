"""What the value of a type hint is an instance of, so that a node's results can be checked as it returns them."""

from __future__ import annotations

import types
import typing
from typing import Any

# Numbers of other libraries count as numbers, as they do at inputs.
_NUMBERS: dict[Any, tuple[type, ...]] = {
    int: (int, typing.SupportsIndex),
    float: (float, int, typing.SupportsFloat),
}


def classes_of(hint: Any) -> tuple[type, ...] | None:
    """The classes that a value of this hint is an instance of; None if that cannot be said, as with Any or a TypeVar.

    list[T] stands for an output whose items go on one by one, and gives the classes of T.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [classes_of(member) for member in arguments]
        known = [member for member in members if member is not None]
        return sum(known, ()) if len(known) == len(members) else None
    if origin is typing.Annotated or origin is list:
        return classes_of(arguments[0])
    if origin is typing.Literal:
        return (str,)
    if isinstance(hint, typing.NewType):
        return classes_of(hint.__supertype__)
    kind = origin or hint
    if not isinstance(kind, type) or kind is object:
        return None
    try:
        isinstance(None, kind)
    except TypeError:
        # A Protocol or a TypedDict, which only a type checker can check.
        return None
    return _NUMBERS.get(kind, (kind,))
