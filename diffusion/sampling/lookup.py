"""Finding an entry of a named table, and saying which names there are when it is not there."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")


def find(table: Mapping[str, Entry], name: str, *, kind: str) -> Entry:
    """The entry called `name`. Raises ValueError naming the nearest one, and all of them, when there is none."""
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"There is no {kind} called {name!r}.{hint} Known: {', '.join(table)}.")
