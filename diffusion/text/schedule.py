r"""Prompts that change during a run, by the rules of AUTOMATIC1111's web UI (1.6 and later).

`[a:b:0.5]` is a, then b; `[a:0.5]` begins late, `[a::0.5]` ends early; `[a|b]` alternates step by step. A number with a
point is a share of the steps, one without is a step. All nest, and `\[`, `\(` and the like are plain signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SIGNS = re.compile(r"\\.|embedding:|[\[\]():|]|(?:(?!embedding:)[^\\\[\]():|])+|\\", re.DOTALL)
"""An escaped sign, one that may mean something, or a run of others; the colon of `embedding:name` means nothing."""
_OPENING = {")": "(", "]": "["}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_AND = re.compile(r"\bAND\b")
_WITH_WEIGHT = re.compile(r"(.*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*", re.DOTALL)


@dataclass(frozen=True)
class Stretch:
    """A prompt's text from step `first` to before step `end`, counted from 0."""

    first: int
    end: int
    text: str


@dataclass(frozen=True)
class _Switch:
    """One text up to and including step `last`, counted from 1, another after it."""

    before: _Text
    after: _Text
    last: int


@dataclass(frozen=True)
class _Cycle:
    """A text for each step in turn."""

    texts: tuple[_Text, ...]


_Piece = str | _Switch | _Cycle
_Text = tuple[_Piece, ...]


def stretches(prompt: str, steps: int) -> tuple[Stretch, ...]:
    """What the prompt says during a run of so many steps, from its first to its last."""
    text = _parsed(_SIGNS.findall(prompt), steps)
    ends = sorted({*_ends(text, steps), steps})
    found: list[Stretch] = []
    for first, end in pairwise([0, *ends]):
        said = _at(text, end)
        if found and found[-1].text == said:
            first = found.pop().first
        found.append(Stretch(first, end, said))
    return tuple(found)


def composed(prompt: str) -> tuple[tuple[str, float], ...]:
    """The prompts that `AND` joins, each with the weight after its last colon, 1 without one."""
    found = []
    for part in _AND.split(prompt):
        match = _WITH_WEIGHT.fullmatch(part)
        assert match is not None
        found.append((match[1], 1.0 if match[2] is None else float(match[2])))
    return tuple(found)


def _parsed(signs: Sequence[str], steps: int) -> _Text:
    """Signs as a text. Brackets that find no partner are letters."""
    levels: list[list[_Piece]] = [[]]
    opened: list[str] = []
    for sign in signs:
        if sign in ("[", "("):
            opened.append(sign)
            levels.append([sign])
        elif sign in _OPENING and opened and opened[-1] == _OPENING[sign]:
            opened.pop()
            inside = [*levels.pop(), sign]
            levels[-1] += _meant(inside, steps) if sign == "]" else inside
        else:
            levels[-1].append(sign)
    return tuple(piece for level in levels for piece in level)


def _meant(inside: list[_Piece], steps: int) -> list[_Piece]:
    """What a pair of square brackets with what is in it stands for."""
    parts = _split(inside[1:-1], ":")
    (last, *more) = parts[-1] or [""]
    number = _NUMBER.fullmatch(last) if isinstance(last, str) and not more else None
    if number is not None and len(parts) in (2, 3):
        before = tuple(parts[0]) if len(parts) == 3 else ()
        return [_Switch(before, tuple(parts[-2]), _step(number[1], steps))]
    options = _split(inside[1:-1], "|")
    return [_Cycle(tuple(map(tuple, options)))] if len(options) > 1 else inside


def _step(number: str, steps: int) -> int:
    return min(steps, int(float(number) * steps if "." in number else float(number)))


def _split(pieces: Sequence[_Piece], at: str) -> list[list[_Piece]]:
    """`pieces` cut at a sign, where it is not inside of brackets."""
    parts: list[list[_Piece]] = [[]]
    depth = 0
    for piece in pieces:
        if piece in ("(", "["):
            depth += 1
        elif piece in (")", "]"):
            depth = max(0, depth - 1)
        if piece == at and depth == 0:
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _ends(text: _Text, steps: int) -> Iterator[int]:
    """The steps after which the text may change, counted from 1."""
    for piece in text:
        if isinstance(piece, _Cycle):
            yield from range(1, steps + 1)
        elif isinstance(piece, _Switch):
            if piece.last >= 1:
                yield piece.last
            yield from _ends((*piece.before, *piece.after), steps)


def _at(text: _Text, step: int) -> str:
    """The text at a step, counted from 1."""
    said = []
    for piece in text:
        if isinstance(piece, str):
            said.append(piece)
        elif isinstance(piece, _Switch):
            said.append(_at(piece.before if step <= piece.last else piece.after, step))
        else:
            said.append(_at(piece.texts[(step - 1) % len(piece.texts)], step))
    return "".join(said)
