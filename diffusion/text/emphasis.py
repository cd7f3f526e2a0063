r"""Emphasis by the rules of AUTOMATIC1111's web UI, where CLIPTextEncode has ComfyUI's.

They differ: square brackets weaken, weights written inside of brackets are multiplied, and a bracket that is not closed
counts as closed at the end.
"""

from __future__ import annotations

import re

from diffusion.text.prompt import EMPHASIS, Segment

_SIGNS = re.compile(r"\\.|\(|\[|:([+-]?[.\d]+)\)|\)|]|[^\\()\[\]:]+|:|\\", re.DOTALL)
_FACTORS = {"(": EMPHASIS, "[": 1 / EMPHASIS}
_OPENING = {")": "(", "]": "["}


def emphasised(text: str) -> tuple[Segment, ...]:
    r"""The weighted segments of `text`, in order.

    `(word)` multiplies the weight by 1.1, `[word]` divides it by that, `(word:1.2)` multiplies it by 1.2, and so do the
    brackets around. `\(`, `\[` and the like are plain signs.
    """
    found: list[Segment] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for match in _SIGNS.finditer(text):
        sign, given = match[0], _number(match[1])
        if sign in opened:
            opened[sign].append(len(found))
        elif given is not None and opened["("]:
            _multiply(found, opened["("].pop(), given)
        elif sign in _OPENING and opened[_OPENING[sign]]:
            _multiply(found, opened[_OPENING[sign]].pop(), _FACTORS[_OPENING[sign]])
        else:
            found.append(Segment(sign.removeprefix("\\")))
    for bracket, positions in opened.items():
        for position in positions:
            _multiply(found, position, _FACTORS[bracket])
    return _merged(found)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _multiply(segments: list[Segment], first: int, factor: float) -> None:
    segments[first:] = [Segment(each.text, each.weight * factor) for each in segments[first:]]


def _merged(segments: list[Segment]) -> tuple[Segment, ...]:
    """Neighbours of the same weight as one."""
    merged: list[Segment] = []
    for segment in segments:
        if merged and merged[-1].weight == segment.weight:
            segment = Segment(merged.pop().text + segment.text, segment.weight)
        merged.append(segment)
    return tuple(merged)
