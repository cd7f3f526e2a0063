"""Types of sockets: their names out of Python types, which may be linked to which, and the values they take."""

from __future__ import annotations

import collections.abc
import contextlib
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from graph.errors import ValueRefused
from graph.ports import Choice, File, Rule, Socket
from graph.values import Lazy

ANY = "*"
WIDGETS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})
"""The types whose values are written into a workflow; all others come over links only."""

_BUILTIN = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING", object: ANY}
_ABSTRACT_VALUES = (collections.abc.Mapping,)
_UNSUITED = (list, set, frozenset, type(None), type, types.FunctionType)


class UnsupportedType(Exception):
    """A type hint that no socket can have; the message says what to write instead."""


@dataclass(frozen=True)
class Hint:
    """What a type hint says of a socket."""

    socket: str
    optional: bool = False
    is_list: bool = False
    lazy: bool = False
    rule: Rule | None = None


def read_hint(hint: Any) -> Hint:
    """The socket of a resolved type hint. Raises UnsupportedType."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(read_hint(arguments[0]), arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if origin is Lazy or hint is Lazy:
        inner = read_hint(arguments[0] if arguments else Any)
        return replace(inner, lazy=True)
    if origin is list or hint is list:
        if not arguments:
            raise UnsupportedType("a bare list does not say what is in it; write list[T]")
        inner = read_hint(arguments[0])
        if inner.is_list or inner.lazy:
            raise UnsupportedType(
                "a list of lists or of Lazy cannot be linked; a value that is a sequence is a tuple"
            )
        return replace(inner, is_list=True)
    if origin is typing.Literal:
        if not all(isinstance(choice, str) for choice in arguments):
            raise UnsupportedType("Literal must hold strings only")
        return Hint("COMBO", rule=Choice(arguments))
    return Hint(_name(hint, origin))


def fits(source: str, target: str) -> bool:
    """Whether an output of type `source` may be linked to an input of type `target`."""
    if source == target or ANY in (source, target):
        return True
    sources, targets = set(source.split(",")), set(target.split(","))
    if sources & targets or ANY in sources | targets:
        return True
    return ("INT" in sources and "FLOAT" in targets) or bool(
        sources & {"STRING", "COMBO"} and targets & {"STRING", "COMBO"}
    )


def accept(socket: str, value: Any) -> Any:
    """`value` as an input of this type takes it. Raises ValueRefused, with what was expected as its message.

    A number may be written as text and a whole number with a point, but nothing is rounded, and true is no number.
    Types that are no widgets take any value: what they are is known to the nodes alone.
    """
    if socket == "INT":
        return _whole(value)
    if socket == "FLOAT":
        return _number(value)
    if socket in ("STRING", "COMBO"):
        return _text(value)
    if socket == "BOOLEAN":
        return _truth(value)
    return _accept_any_of(socket.split(","), value) if "," in socket else value


def takes_constants(socket: str) -> bool:
    """Whether a value for an input of this type can be written into a workflow."""
    return socket in WIDGETS or socket in (ANY, "DICT") or any(part in WIDGETS for part in socket.split(","))


def _accept_any_of(sockets: Sequence[str], value: Any) -> Any:
    """`value` as the first of these types takes it, one that takes it unchanged before one that converts it."""
    if not WIDGETS.issuperset(sockets):
        return value
    taken: list[Any] = []
    for socket in sockets:
        with contextlib.suppress(ValueRefused):
            taken.append(accept(socket, value))
    if not taken:
        raise ValueRefused(f"one of {', '.join(sockets)}")
    return next((item for item in taken if type(item) is type(value)), taken[0])


def _annotated(inner: Hint, metadata: Sequence[Any]) -> Hint:
    for item in metadata:
        if isinstance(item, type) and isinstance(item, Rule):
            raise UnsupportedType(f"{item.__name__} must be called: {item.__name__}(...)")
        if isinstance(item, Socket):
            inner = replace(inner, socket=item.name)
        elif isinstance(item, Rule):
            unsuitable = item.unsuitable(inner.socket)
            if unsuitable:
                raise UnsupportedType(unsuitable)
            socket = "COMBO" if isinstance(item, Choice | File) else inner.socket
            inner = replace(inner, socket=socket, rule=item)
    return inner


def _union(members: Sequence[Any]) -> Hint:
    present = [read_hint(member) for member in members if member is not type(None)]
    optional = len(present) < len(members)
    if len(present) == 1:
        return replace(present[0], optional=optional)
    if any(member.is_list or member.lazy or member.rule for member in present):
        raise UnsupportedType(
            "a union may join plain types only; put list, Lazy or Annotated around the union"
        )
    names = dict.fromkeys(name for member in present for name in member.socket.split(","))
    return Hint(ANY if ANY in names else ",".join(names), optional=optional)


def _name(hint: Any, origin: Any) -> str:
    if hint is Any or isinstance(hint, TypeVar):
        return ANY
    if isinstance(hint, typing.NewType):
        return hint.__name__.upper()
    kind = origin or hint
    if kind in _BUILTIN:
        return _BUILTIN[kind]
    if isinstance(kind, type) and kind not in _UNSUITED and kind not in _ABSTRACT_VALUES:
        if kind.__module__ in ("collections.abc", "typing"):
            raise UnsupportedType(f"{hint} is no type of a value; write a class, a NewType or a tuple")
        return kind.__name__.upper()
    if kind in _ABSTRACT_VALUES:
        return "DICT"
    raise UnsupportedType(
        f"{hint!r} is no type of a value; write a class, a NewType, Any, or one of these | None"
    )


def _whole(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = _from_text(value)
    if isinstance(value, float):
        if value.is_integer():
            return int(value)
    elif not isinstance(value, str | bool) and hasattr(value, "__index__"):
        return int(value.__index__())
    raise ValueRefused("a whole number")


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueRefused("a finite number")
    number = _from_text(value) if isinstance(value, str) else value
    try:
        number = number if type(number) is float else float(number.__float__())
    except (AttributeError, OverflowError, TypeError, ValueError):
        raise ValueRefused("a finite number") from None
    if not math.isfinite(number):
        raise ValueRefused("a finite number")
    return number


def _from_text(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise ValueRefused("a text")


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if type(value) in (int, float) and value in (0, 1):
        return bool(value)
    raise ValueRefused("true or false")
