"""How many bytes a value holds, tensors and arrays known by what they can do rather than by their type."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Set
from typing import Any

_LARGE = 4096
_NUMBERS = frozenset({int, float, bool, type(None)})
_NO_BUFFERS: Mapping[int, int] = {}


def measure(value: Any) -> tuple[int, Mapping[int, int]]:
    """The bytes of `value`: those that are its own, and those of each large buffer in it, by the buffer's identity.

    Several values may share a buffer; whoever adds them up counts it once. A class may say for itself what its values
    cost to keep, with an attribute `cache_nbytes`, when what they refer to is held elsewhere anyway.
    """
    if type(value) in _NUMBERS:
        return sys.getsizeof(value), _NO_BUFFERS
    own = 0
    buffers: dict[int, int] = {}
    seen: set[int] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        try:
            said = getattr(item, "cache_nbytes", None)
            buffer = _buffer(item) if said is None else (id(item), int(said))
            parts = _parts(item) if buffer is None else []
        except Exception:
            # What cannot be looked into, such as a file that is gone, costs no more than it shows.
            buffer, parts = None, []
        own += sys.getsizeof(item, 64) if buffer is None else 64
        pending.extend(parts)
        if buffer is not None:
            identity, nbytes = buffer
            if nbytes >= _LARGE:
                buffers[identity] = nbytes
            else:
                own += nbytes
    return own, buffers


def _buffer(item: Any) -> tuple[int, int] | None:
    """The identity and size of the memory that a tensor, an array or a long text holds; a view holds all of it."""
    if isinstance(item, str | bytes | bytearray):
        return id(item), len(item)
    storage = getattr(item, "untyped_storage", None)
    if callable(storage):
        held = storage()
        return held.data_ptr() or id(item), int(held.nbytes())
    nbytes = getattr(item, "nbytes", None)
    if isinstance(nbytes, int) and not isinstance(item, type):
        base = getattr(item, "base", None)
        whole = getattr(base, "nbytes", None)
        return (id(base), whole) if isinstance(whole, int) else (id(item), nbytes)
    return None


def _parts(item: Any) -> list[Any]:
    if isinstance(item, type) or callable(item):
        return []
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | Set):
        return list(item)
    if dataclasses.is_dataclass(item):
        return [getattr(item, field.name) for field in dataclasses.fields(item)]
    return list(vars(item).values()) if hasattr(item, "__dict__") else []
