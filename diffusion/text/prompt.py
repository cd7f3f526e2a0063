"""Prompts: emphasis such as `(word:1.2)` read as weights, and weighted tokens packed into chunks of a fixed length.

Existing prompts mean what they mean to ComfyUI's CLIPTextEncode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from diffusion.text.tokenizer import Tokenizer

EMPHASIS = 1.1
"""What a pair of brackets without a number multiplies the weight by."""

CHUNK = 77
"""Tokens a chunk has in Stable Diffusion 1.x, start and end included."""

UNSPLIT = 8
"""A part of fewer tokens than this moves to the next chunk rather than be cut in two."""

_PIECES = re.compile(r"\\[()]|[()]|(?:[^\\()]|\\(?![()]))+")
"""An escaped bracket, a bracket, or a run of anything else."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a prompt's text, escapes resolved, and its weight."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Part:
    """The tokens of one segment, and the weight they share."""

    ids: tuple[int, ...]
    weight: float = 1.0


class WeightedToken(NamedTuple):
    """A token's id and how strongly it counts; 1 is as written."""

    id: int
    weight: float = 1.0


Chunk = tuple[WeightedToken, ...]
"""As many tokens as the text encoder has positions: start, some of the prompt's, end, and end again as padding."""


@dataclass(frozen=True)
class _Group:
    """Pieces of text still to be read, and the weight of those among them that no brackets enclose."""

    pieces: Sequence[str]
    weight: float


def parse_prompt(text: str) -> tuple[Segment, ...]:
    r"""The weighted segments of `text`, in order.

    `(word)` multiplies the weight by 1.1, and each further pair of brackets around it does so again. `(word:1.2)` sets
    the weight, whatever the brackets around it say; any finite number may follow the last colon. `\(` and `\)` are
    brackets as text, and square brackets always are. No text is an error: a bracket that closes nothing is text, and
    an unclosed one makes text of all that follows, unless the prompt ends in a bracket, which then closes it.
    """
    found = []
    unread: list[Segment | _Group] = [_Group(_PIECES.findall(text), 1.0)]
    while unread:  # a stack, not recursion: nothing bounds how deep brackets nest
        item = unread.pop()
        if isinstance(item, Segment):
            found.append(item)
        else:
            unread.extend(reversed([_read(inner, item.weight) for inner in _top_level(item.pieces)]))
    return tuple(found)


def prompt_parts(text: str, tokenizer: Tokenizer) -> tuple[Part, ...]:
    """The tokens of each segment of `text`, in order."""
    return tuple(Part(tokenizer.encode(segment.text), segment.weight) for segment in parse_prompt(text))


def pack_chunks(parts: Iterable[Part], tokenizer: Tokenizer, *, length: int = CHUNK) -> tuple[Chunk, ...]:
    """`parts` packed into chunks of `length` tokens, at least one.

    A part of fewer than 8 tokens is not cut: where it does not fit, the chunk is padded and the next one begins.
    Longer parts fill a chunk to its end and go on in the next. Start, end and padding have the weight 1.
    Raises ValueError for a length that leaves no room between start and end.
    """
    room = length - 2
    if room < 1:
        raise ValueError(
            f"chunks of {length} tokens have no room for text between the start and the end token"
        )
    chunks: list[list[WeightedToken]] = [[]]
    for part in parts:
        tokens = [WeightedToken(id, part.weight) for id in part.ids]
        if len(tokens) < min(UNSPLIT, room + 1) and len(tokens) > room - len(chunks[-1]):
            chunks.append([])
        while len(tokens) > room - len(chunks[-1]):
            taken = room - len(chunks[-1])
            chunks[-1] += tokens[:taken]
            tokens = tokens[taken:]
            chunks.append([])
        chunks[-1] += tokens
    return tuple(_framed(chunk, tokenizer, length) for chunk in chunks)


def empty_chunk(tokenizer: Tokenizer, *, length: int = CHUNK) -> Chunk:
    """The chunk of a prompt without words."""
    return _framed((), tokenizer, length)


def _top_level(pieces: Sequence[str]) -> Iterator[Sequence[str]]:
    """`pieces` cut before each bracket that opens at the top level and after the one that closes it.

    A bracket that closes nothing counts as well, so the next one to open only makes up for it.
    """
    begin = depth = 0
    for position, piece in enumerate(pieces):
        if piece == "(":
            if depth == 0 and position > begin:
                yield pieces[begin:position]
                begin = position
            depth += 1
        elif piece == ")":
            depth -= 1
            if depth == 0:
                yield pieces[begin : position + 1]
                begin = position + 1
    if begin < len(pieces):
        yield pieces[begin:]


def _read(item: Sequence[str], weight: float) -> Segment | _Group:
    """What one top-level item is, where the text around it has `weight`."""
    if len(item) < 2 or item[0] != "(" or item[-1] != ")":
        return Segment("".join(piece[1:] if piece in (r"\(", r"\)") else piece for piece in item), weight)
    inner = item[1:-1]
    text, colon, number = inner[-1].rpartition(":") if inner else ("", "", "")
    given = _number(number) if colon and (text or len(inner) > 1) else None
    if given is None:
        return _Group(inner, weight * EMPHASIS)
    return _Group([*inner[:-1], text] if text else inner[:-1], given)


def _number(text: str) -> float | None:
    """The finite number that `text` is; words such as `nan` and `infinity` are words."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _framed(tokens: Sequence[WeightedToken], tokenizer: Tokenizer, length: int) -> Chunk:
    padding = [WeightedToken(tokenizer.end)] * (length - 1 - len(tokens))
    return (WeightedToken(tokenizer.start), *tokens, *padding)
