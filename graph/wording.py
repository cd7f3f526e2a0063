"""How messages name a place in a workflow and show what was found there."""

from __future__ import annotations

import reprlib
from typing import Any

_LONGEST = 80


def shown(value: Any) -> str:
    """A short form of any value, however large or deep it is."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = _LONGEST
    brief.maxlevel = 3
    try:
        return brief.repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


def place(node: str, class_type: str | None = None, title: str | None = None) -> str:
    """A node as messages name it: its id, its class, and its title where that says more."""
    named = [class_type] if class_type else []
    if title and title != class_type:
        named.append(shown(title))
    return f"node {node[:_LONGEST]}" + (f" ({' '.join(named)})" if named else "")


def meant(nearest: str | None) -> str:
    """A question after what may have been meant, or nothing."""
    return f" Did you mean {nearest!r}?" if nearest else ""


def described(value: Any) -> str:
    """A short form of a value that flows along a link, never the numbers in a tensor."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return shown(value)
    try:
        shape = getattr(value, "shape", None)
        if shape is not None:
            return f"{type(value).__name__} {shown(tuple(shape))}"
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return f"{type(value).__name__} of {len(value)}"
    except Exception:
        # A value that cannot be looked at must not hide the error that it is shown for.
        return type(value).__name__
    return type(value).__name__
