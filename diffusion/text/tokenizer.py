"""CLIP's byte-pair encoding: text to token ids, the same ids as transformers' CLIPTokenizer gives."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from diffusion.text.vocabulary import (
    END,
    START,
    WORD_END,
    Vocabulary,
    clip_vocabulary,
    folder_vocabulary,
    merges_vocabulary,
)

WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes for a word (Radford et al. 2021, published code): contractions, letters, a digit, other signs."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A byte-pair tokenizer, made by `clip`, `from_merges` or `from_folder`.

    start, end: ids of the tokens that open and close a chunk; `end` also pads it. size: one more than the highest id.
    """

    start: int
    end: int
    size: int
    _backend: tokenizers.Tokenizer = field(repr=False)

    @classmethod
    def clip(cls) -> Tokenizer:
        """CLIP's own tokenizer, 49,408 tokens, from the merges shipped with the package."""
        return cls._of(clip_vocabulary(), "CLIP's merges")

    @classmethod
    def from_merges(cls, merges: Iterable[str]) -> Tokenizer:
        """The tokenizer whose vocabulary CLIP's construction makes of `merges`, each "left right", in order.

        Raises ValueError for a merge of anything but bytes and earlier merges.
        """
        return cls._of(merges_vocabulary(merges), "the list of merges")

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """The tokenizer a model folder has: tokenizer.json, or vocab.json with merges.txt.

        Raises FileNotFoundError when it has neither, ValueError when a file is damaged or not a CLIP tokenizer's.
        """
        return cls._of(folder_vocabulary(folder), str(folder))

    @property
    def merges(self) -> tuple[str, ...] | None:
        """The merges that `from_merges` makes this tokenizer of again; empty for CLIP's own, None when none do."""
        listed = json.loads(self._backend.to_str())["model"]["merges"]
        pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in listed]
        merges = tuple(" ".join(pair) for pair in pairs)
        if merges_vocabulary(merges).ids != self._backend.get_vocab():
            return None
        return () if pairs == list(clip_vocabulary().merges) else merges

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of `text`, of any length, without start and end. Half surrogate pairs count as U+FFFD."""
        return tuple(self._backend.encode(_well_formed(text), add_special_tokens=False).ids)

    @classmethod
    def _of(cls, vocabulary: Vocabulary, origin: str) -> Tokenizer:
        backend = _backend(vocabulary, origin)
        for token in vocabulary.added:
            if backend.token_to_id(token.text) != token.id:
                raise ValueError(f"token {token.text!r} of {origin} can't have the id {token.id}")
        ids = {**vocabulary.ids, **{token.text: token.id for token in vocabulary.added}}
        return cls(ids[START], ids[END], max(ids.values()) + 1, backend)


def _backend(vocabulary: Vocabulary, origin: str) -> tokenizers.Tokenizer:
    try:
        model = models.BPE(
            vocab=dict(vocabulary.ids),
            merges=list(vocabulary.merges),
            end_of_word_suffix=WORD_END,
            unk_token=END,
        )
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"the merges of {origin} do not fit its vocabulary: {error}") from error
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.add_tokens(
        [
            tokenizers.AddedToken(
                token.text,
                special=token.special,
                normalized=token.normalized,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
            )
            for token in vocabulary.added
        ]
    )
    return backend


def _well_formed(text: str) -> str:
    """`text` as Unicode allows it: surrogates joined where they pair up, replaced where they do not."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
