"""Learns byte-pair merges from captions, in CLIP's form: the last symbol of a word ends in </w>."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from random import Random

from diffusion.text.vocabulary import WORD_END
from training.drawing import draw_example

WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]+")
COMMON_WORDS = (
    "the of in on with and a an at to it is are two three four five yellow picture image photo drawing painting "
    "illustration sky day night sunset"
)


def caption_merges(seed: int, *, captions: int = 8000, most: int = 700) -> tuple[str, ...]:
    """The merges that `captions` drawn captions ask for."""
    examples = (draw_example(Random(f"{seed}:words:{i}"), scale=1).caption for i in range(captions))
    return learn_merges((*examples, COMMON_WORDS), most=most)


def learn_merges(texts: Iterable[str], *, most: int) -> tuple[str, ...]:
    """Up to `most` merges, "left right", the most frequent pair first (Sennrich et al. 2016, algorithm 1).

    Of pairs equally frequent the last in alphabetical order is taken, so the result depends on the texts alone.
    """
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    spelled = {word: (*word[:-1], word[-1] + WORD_END) for word in counts}
    merges: list[str] = []
    while len(merges) < most:
        pairs = Counter[tuple[str, str]]()
        for word, symbols in spelled.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(" ".join(best))
        spelled = {word: _merged(symbols, best) for word, symbols in spelled.items()}
    return tuple(merges)


def _merged(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in symbols:
        # A symbol just joined to its left neighbour cannot be the left half of a further pair of the same kind.
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)
