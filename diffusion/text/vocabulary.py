"""Vocabularies of byte-pair tokenizers: CLIP's own, those derived from a list of merges, those of model folders."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

Kind = TypeVar("Kind")

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
CLIP_MERGES = 48_894
"""How many of the published merges CLIP uses: with 512 byte symbols and two special tokens, 49,408 tokens."""


@dataclass(frozen=True)
class AddedToken:
    """A token found whole in the text, before it is split into words.

    normalized: whether it is looked for after the text is put in lower case, not before.
    """

    text: str
    id: int
    special: bool = True
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Token ids, the merges in order of priority, and the tokens that are no result of merging."""

    ids: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    added: tuple[AddedToken, ...]


def clip_vocabulary() -> Vocabulary:
    """The vocabulary of CLIP ViT-L/14, from the file shipped in diffusion/text/data."""
    packed = files("diffusion.text").joinpath("data", "bpe_simple_vocab_16e6.txt.gz")
    with packed.open("rb") as stream, gzip.open(stream, "rt", encoding="utf-8") as lines:
        next(lines)  # a version line
        return merges_vocabulary(islice(lines, CLIP_MERGES))


def merges_vocabulary(merges: Iterable[str]) -> Vocabulary:
    """The vocabulary that CLIP's construction makes of `merges`, each "left right".

    256 byte symbols, the same at a word's end, one token a merge, then the two special tokens (Radford et al. 2021,
    published code). Raises ValueError for a merge that is not two known symbols.
    """
    symbols = _byte_symbols()
    tokens = [*symbols, *(symbol + WORD_END for symbol in symbols)]
    pairs = []
    known = set(tokens)
    for number, merge in enumerate(merges, start=1):
        pair = merge.split()
        if len(pair) != 2 or not known.issuperset(pair):
            raise ValueError(
                f"merge {number} of the tokenizer, {merge!r}, is not two symbols made of bytes or of earlier merges; "
                "the file that holds the merges is damaged or not in CLIP's form"
            )
        left, right = pair
        pairs.append((left, right))
        tokens.append(left + right)
        known.add(left + right)
    ids = {token: number for number, token in enumerate([*tokens, START, END])}
    return Vocabulary(ids, pairs, _special_tokens(ids))


def folder_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary of a model folder's tokenizer: tokenizer.json, or else vocab.json with merges.txt.

    Raises FileNotFoundError when it has neither, ValueError when a file is not what its name says.
    """
    whole = folder / "tokenizer.json"
    if whole.is_file():
        return _from_tokenizer_json(whole)
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    if not vocab.is_file() or not merges.is_file():
        raise FileNotFoundError(
            f"no tokenizer in {folder}: expected tokenizer.json, or vocab.json together with merges.txt"
        )
    ids = _token_ids(_read_object(vocab), vocab)
    lines = _read_text(merges).splitlines()
    pairs = [_pair(line, merges) for line in lines if line and not line.startswith("#version")]
    return Vocabulary(ids, pairs, _with_special_tokens(_added_beside(folder), ids, vocab))


def _byte_symbols() -> list[str]:
    """A printable character for each byte, in CLIP's order: those that print as themselves first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [*map(chr, printable), *(chr(256 + number) for number in range(others))]


def _special_tokens(ids: Mapping[str, int]) -> tuple[AddedToken, ...]:
    return AddedToken(START, ids[START]), AddedToken(END, ids[END])


def _from_tokenizer_json(path: Path) -> Vocabulary:
    content = _read_object(path)
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("merges"), list):
        raise ValueError(f"{path} holds no byte-pair tokenizer: expected model.vocab and model.merges in it")
    ids = _token_ids(model.get("vocab"), path)
    pairs = [_pair(merge, path) for merge in model["merges"]]
    added = [_added_token(entry, path) for entry in _entries(content, "added_tokens", list, path)]
    return Vocabulary(ids, pairs, _with_special_tokens(added, ids, path))


def _added_beside(folder: Path) -> list[AddedToken]:
    """Tokens that tokenizer_config.json, or in older folders added_tokens.json, adds to vocab.json."""
    config, plain = folder / "tokenizer_config.json", folder / "added_tokens.json"
    added = []
    if config.is_file():
        entries = _entries(_read_object(config), "added_tokens_decoder", dict, config)
        added = [_added_token(entry, config, number) for number, entry in entries.items()]
    if not added and plain.is_file():
        tokens = _token_ids(_read_object(plain), plain)
        added = [AddedToken(text, number, special=False, normalized=True) for text, number in tokens.items()]
    return added


def _with_special_tokens(
    added: Iterable[AddedToken], ids: Mapping[str, int], path: Path
) -> tuple[AddedToken, ...]:
    by_text = {token.text: token for token in added}
    for text in (START, END):
        if text not in by_text:
            if text not in ids:
                raise ValueError(f"{path} is not a CLIP tokenizer's: it has no token {text}")
            by_text[text] = AddedToken(text, ids[text])
    return tuple(sorted(by_text.values(), key=lambda token: token.id))


def _entries(content: dict[str, Any], name: str, kind: type[Kind], path: Path) -> Kind:
    entries = content.get(name) or kind()
    if not isinstance(entries, kind):
        raise ValueError(f"{name} in {path} should be a {kind.__name__}, not {entries!r}")
    return entries


def _added_token(entry: Any, path: Path, number: str | None = None) -> AddedToken:
    """The token that `entry` describes; its id is `number` where the entry does not hold it."""
    fields = entry if isinstance(entry, dict) else {}
    text, id = fields.get("content"), str(number if number is not None else fields.get("id"))
    if not isinstance(text, str) or not id.isdecimal():
        raise ValueError(f"an added token in {path} has no content or no id: {entry!r}")
    flags = ("special", "normalized", "single_word", "lstrip", "rstrip")
    return AddedToken(text, int(id), **{flag: bool(fields.get(flag)) for flag in flags})


def _token_ids(content: Any, path: Path) -> dict[str, int]:
    if not isinstance(content, dict) or not all(isinstance(number, int) for number in content.values()):
        raise ValueError(f"{path} holds no vocabulary: expected a JSON object of tokens and their numbers")
    return content


def _pair(merge: Any, path: Path) -> tuple[str, str]:
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise ValueError(f"a merge in {path} is not two symbols: {merge!r}")
    return pair[0], pair[1]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should hold a JSON object, not a {type(content).__name__}")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error
