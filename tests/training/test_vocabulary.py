"""Merges learned from captions make the vocabulary that CLIP's construction makes of them."""

from diffusion.text.tokenizer import Tokenizer
from training.examples import POSITIONS, token_ids
from training.vocabulary import caption_merges, learn_merges


def test_the_most_frequent_pair_comes_first() -> None:
    assert learn_merges(["low low low lot"], most=2) == ("l o", "lo w</w>")


def test_equally_frequent_pairs_come_in_an_order_that_the_words_decide() -> None:
    assert learn_merges(["ab cd"], most=5) == learn_merges(["cd ab"], most=5) == ("c d</w>", "a b</w>")


def test_repeated_letters_merge_from_the_left() -> None:
    assert learn_merges(["aaaa"], most=1) == ("a a",)
    assert learn_merges(["aaaaa"], most=2) == ("a a", "aa aa")  # aa aa a</w>


def test_no_more_merges_than_asked_for_or_possible() -> None:
    assert len(learn_merges(["circle square"], most=3)) == 3
    assert learn_merges(["a"], most=3) == ()


def test_every_word_of_a_caption_becomes_one_token() -> None:
    merges = caption_merges(0, captions=1500)
    assert merges == caption_merges(0, captions=1500)
    tokenizer = Tokenizer.from_merges(merges)
    assert tokenizer.size == 512 + len(merges) + 2
    caption = "a red circle to the left of a small blue heart on a white background"
    assert len(tokenizer.encode(caption)) == len(caption.split())


def test_captions_become_framed_and_filled_rows() -> None:
    tokenizer = Tokenizer.from_merges(["a b</w>"])
    ids = token_ids(tokenizer, ["ab ab", "", "ab " * 100])
    assert ids.shape == (3, POSITIONS)
    assert ids[0].tolist() == [tokenizer.start, 512, 512] + [tokenizer.end] * (POSITIONS - 3)
    assert ids[1].tolist() == [tokenizer.start] + [tokenizer.end] * (POSITIONS - 1)
    assert ids[2, -1] == tokenizer.end
    assert ids[2, -2] == 512
