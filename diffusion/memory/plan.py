"""Which parts of a network stay in memory when not all of them fit, as a pure function of sizes and room."""

from __future__ import annotations

from collections.abc import Sequence

AHEAD = 1
"""How many parts are made ahead of the one in use."""
_SHARES = 256


def staying(sizes: Sequence[int], room: int) -> frozenset[int] | None:
    """The positions of the parts that stay, of `sizes` bytes each in the order of use; None if the room is too small.

    The others are made before each use and let go after it. No more of them than necessary, and as evenly spread as
    can be, so that there is time between them to make the next. `room` is for what stays and what is being made.
    """
    for step in range(_SHARES + 1):
        streamed = _spread(sizes, step / _SHARES)
        if sum(sizes) - sum(sizes[place] for place in streamed) + passing(sizes, streamed) <= room:
            return frozenset(range(len(sizes))) - frozenset(streamed)
    return None


def least(sizes: Sequence[int]) -> int:
    """The least room with which `staying` finds a plan."""
    streamed = _spread(sizes, 1.0)
    return sum(sizes) - sum(sizes[place] for place in streamed) + passing(sizes, streamed)


def passing(sizes: Sequence[int], streamed: Sequence[int]) -> int:
    """The most that streamed parts hold at once: the one in use, those made ahead, and one more while it is made.

    A part is held twice while it is made, as it was in the file and as its kernel reads it.
    """
    row = [sizes[place] for place in streamed]
    at_once = AHEAD + 2
    return max((sum((row + row)[first : first + at_once]) for first in range(len(row))), default=0)


def _spread(sizes: Sequence[int], share: float) -> list[int]:
    """Positions that hold about `share` of all bytes, evenly spread over them (error diffusion)."""
    chosen, owed = [], 0.0
    for place, size in enumerate(sizes):
        owed += share * size
        if owed >= size / 2 and share:
            chosen.append(place)
            owed -= size
    return chosen
