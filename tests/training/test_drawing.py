"""What is drawn: the same for the same seed, in every kind, never from the combinations that are kept back."""

from random import Random

import numpy as np
import pytest

from tests.adherence import parse_prompt
from training.drawing import SIZE, Canvas, Mixture, draw_example
from training.drawing.arrangements import ARRANGEMENTS, one_shape, two_shapes
from training.drawing.mixture import SCENES, choose_kind
from training.drawing.palette import INK
from training.drawing.split import Split, split_of
from training.drawing.styles import outlined

KINDS = (*ARRANGEMENTS, *SCENES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_and_depends_on_the_seed_alone(kind: str) -> None:
    first, again, other = (draw_example(Random(seed), kind=kind) for seed in (5, 5, 6))
    assert first.picture.size == (SIZE, SIZE)
    assert first.picture.mode == "RGB"
    assert np.asarray(first.picture).std() > 10, "something is to be seen"
    assert first.caption == again.caption
    assert first.picture.tobytes() == again.picture.tobytes()
    assert first.picture.tobytes() != other.picture.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_captions_are_plain_sentences(kind: str) -> None:
    for seed in range(30):
        caption = draw_example(Random(seed), kind=kind, scale=1).caption
        assert caption == " ".join(caption.split()).lower()
        assert set(caption) <= set("abcdefghijklmnopqrstuvwxyz ,")
        assert not any(
            wrong in f" {caption}" for wrong in (" a orange", " an red", " a ice", " an a ", " a an ")
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_thumbnail_shows_the_same_picture(kind: str) -> None:
    large, small = (draw_example(Random(9), kind=kind, scale=scale) for scale in (3, 1))
    assert large.caption == small.caption
    difference = np.asarray(large.picture, dtype=float) - np.asarray(small.picture, dtype=float)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("split", list(Split))
def test_shapes_are_drawn_from_the_split_that_is_asked_for(split: Split) -> None:
    rng = Random(1)
    for _ in range(40):
        asked = parse_prompt(one_shape(rng, Canvas(1), split))
        assert split_of(*asked.things[0], asked.background) == split
        asked = parse_prompt(two_shapes(rng, Canvas(1), split))
        assert split_of(*asked.things[0], *asked.things[1]) == split


def test_training_never_draws_what_is_kept_back() -> None:
    mixture = Mixture(one=0.5, two=0.5, inside=0, several=0, scene=0)
    for seed in range(300):
        example = draw_example(Random(seed), mixture=mixture, scale=1)
        asked = parse_prompt(example.caption)
        words = [word for thing in asked.things for word in thing]
        if len(asked.things) == 1:
            words.append(asked.background)
        assert split_of(*words) == Split.TRAIN


def test_one_combination_in_ten_is_kept_back_and_stays_the_same() -> None:
    splits = [split_of("red", "circle", str(number)) for number in range(2000)]
    assert 0.07 < 1 - splits.count(Split.TRAIN) / 2000 < 0.13
    assert 0.3 < splits.count(Split.FINAL) / (2000 - splits.count(Split.TRAIN)) < 0.7
    known = {"red circle white": "heldout", "blue heart green": "final", "red square white": "train"}
    assert {words: split_of(*words.split()).value for words in known} == known


def test_kinds_follow_the_mixture() -> None:
    rng = Random(3)
    kinds = [choose_kind(rng, Mixture(one=0, two=0.5, inside=0, several=0, scene=0.5)) for _ in range(400)]
    assert 150 < kinds.count("two") < 250
    assert set(kinds) == {"two", *SCENES}


def test_the_outlined_style_puts_ink_around_shapes() -> None:
    plain, styled = (draw_example(Random(2), kind="one", style=style) for style in (None, outlined))
    assert plain.caption == styled.caption
    ink = [(np.abs(np.asarray(one.picture, dtype=int) - INK).max(-1) < 30).mean() for one in (plain, styled)]
    assert ink[0] < 0.001
    assert ink[1] > 0.01
