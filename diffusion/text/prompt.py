"""Prompts: emphasis such as `(word:1.2)` read as weights, and weighted tokens packed into chunks of a fixed length.

Existing prompts mean what they mean to ComfyUI's CLIPTextEncode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from diffusion.text.embeddings import FindEmbedding, no_embeddings
from diffusion.text.tokenizer import Tokenizer

EMPHASIS = 1.1
"""What a pair of brackets without a number multiplies the weight by."""

CHUNK = 77
"""Tokens a chunk has in Stable Diffusion 1.x, start and end included."""

UNSPLIT = 8
"""A part of fewer tokens than this moves to the next chunk rather than be cut in two."""

_PIECES = re.compile(r"\\[()]|[()]|(?:[^\\()]|\\(?![()]))+")
"""An escaped bracket, a bracket, or a run of anything else."""

_BREAK = re.compile(r"\s*\bBREAK\b\s*")

_EMBEDDING = "embedding:"
_BEFORE_EMBEDDINGS = re.compile(rf"[ \n](?={_EMBEDDING})")


@dataclass(frozen=True)
class Segment:
    """A stretch of a prompt's text, escapes resolved, and its weight."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Part:
    """Tokens that are kept together if they are few, and the weight they share.

    vectors: [n, C], what stands in place of the tokens' own vectors; the ids then only hold the places.
    begins_chunk: whether a new chunk begins here.
    """

    ids: tuple[int, ...]
    weight: float = 1.0
    vectors: Tensor | None = None
    begins_chunk: bool = False


class WeightedToken(NamedTuple):
    """A token's id and how strongly it counts; 1 is as written. vector: [C], in place of the id's own."""

    id: int
    weight: float = 1.0
    vector: Tensor | None = None


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


def prompt_parts(text: str, tokenizer: Tokenizer, find: FindEmbedding = no_embeddings) -> tuple[Part, ...]:
    """The tokens of `text`, in order.

    `embedding:name`, at the start of a segment or after a space or a line break, stands for the vectors that `find`
    gives for the name; a comma after the name is no part of it unless there is one of such a name. `BREAK` begins a new
    chunk. Raises ValueError for a name that `find` does not know.
    """
    return weighted_parts(parse_prompt(text), tokenizer, find)


def weighted_parts(
    segments: Iterable[Segment], tokenizer: Tokenizer, find: FindEmbedding = no_embeddings
) -> tuple[Part, ...]:
    """The same for segments, however they were read."""
    parts: list[Part] = []
    for segment in segments:
        for number, stretch in enumerate(_BREAK.split(segment.text)):
            if number > 0:
                parts.append(Part((), begins_chunk=True))
            for piece in filter(None, _BEFORE_EMBEDDINGS.split(stretch)):
                parts.extend(_piece_parts(piece, segment.weight, tokenizer, find))
    return tuple(parts)


def _piece_parts(piece: str, weight: float, tokenizer: Tokenizer, find: FindEmbedding) -> Iterator[Part]:
    if piece.startswith(_EMBEDDING):
        name, piece = [*piece.removeprefix(_EMBEDDING).split(maxsplit=1), "", ""][:2]
        vectors = find(name) if name else None
        if vectors is None:
            bare = name.strip(",")
            piece = f"{name[len(bare) :]} {piece}"
            vectors = find(bare) if bare else None
            if vectors is None:
                raise ValueError(
                    f"this prompt names the embedding {bare or name!r}, and there is no such file; put it into "
                    "models/embeddings (.safetensors, .pt or .bin), or take it out of the prompt"
                )
        yield Part((tokenizer.start,) * len(vectors), weight, vectors)
    if piece:
        yield Part(tokenizer.encode(piece), weight)


def pack_chunks(parts: Iterable[Part], tokenizer: Tokenizer, *, length: int = CHUNK) -> tuple[Chunk, ...]:
    """`parts` packed into chunks of `length` tokens, at least one.

    A part of fewer than 8 tokens is not cut: where it does not fit, the chunk is padded and the next one begins.
    Longer parts fill a chunk to its end and go on in the next. A part that begins a chunk begins none at the very end.
    Start, end and padding have the weight 1.
    Raises ValueError for a length that leaves no room between start and end.
    """
    room = length - 2
    if room < 1:
        raise ValueError(
            f"chunks of {length} tokens have no room for text between the start and the end token"
        )
    chunks: list[list[WeightedToken]] = [[]]
    for part in parts:
        if part.begins_chunk:
            chunks.append([])
        tokens = _tokens(part)
        if len(tokens) < min(UNSPLIT, room + 1) and len(tokens) > room - len(chunks[-1]):
            chunks.append([])
        while len(tokens) > room - len(chunks[-1]):
            taken = room - len(chunks[-1])
            chunks[-1] += tokens[:taken]
            tokens = tokens[taken:]
            chunks.append([])
        chunks[-1] += tokens
    if len(chunks) > 1 and not chunks[-1]:
        del chunks[-1]
    return tuple(_framed(chunk, tokenizer, length) for chunk in chunks)


def _tokens(part: Part) -> list[WeightedToken]:
    if part.vectors is None:
        return [WeightedToken(id, part.weight) for id in part.ids]
    return [WeightedToken(id, part.weight, vector) for id, vector in zip(part.ids, part.vectors, strict=True)]


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
