"""Which combinations of words are drawn in training, and which are kept to ask for afterwards."""

import hashlib
from enum import Enum


class Split(Enum):
    """TRAIN is drawn in training. HELDOUT (one in twenty) is for tuning, FINAL (one in twenty) for the last look."""

    TRAIN = "train"
    HELDOUT = "heldout"
    FINAL = "final"


def split_of(*words: str) -> Split:
    """The split of a combination of words, by their hash: always the same one."""
    digest = hashlib.md5("|".join(words).encode(), usedforsecurity=False).digest()
    if digest[0] % 10:
        return Split.TRAIN
    return Split.FINAL if digest[1] % 2 else Split.HELDOUT
