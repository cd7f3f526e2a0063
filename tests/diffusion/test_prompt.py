"""Weights and chunks of prompts. The expected values are what ComfyUI 0.3.64 makes of the same text."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.text.prompt import (
    Part,
    Segment,
    WeightedToken,
    empty_chunk,
    pack_chunks,
    parse_prompt,
    prompt_parts,
)
from diffusion.text.tokenizer import Tokenizer

START, END, CAT = 49406, 49407, 2368


@cache
def _clip() -> Tokenizer:
    return Tokenizer.clip()


def _chunks(text: str) -> tuple[tuple[WeightedToken, ...], ...]:
    return pack_chunks(prompt_parts(text, _clip()), _clip())


def _ids(text: str) -> list[list[int]]:
    return [[token.id for token in chunk] for chunk in _chunks(text)]


PARSED = [
    ("", []),
    ("a cat", [("a cat", 1)]),
    ("a (cat)", [("a ", 1), ("cat", 1.1)]),
    ("a (cat:1.2) c", [("a ", 1), ("cat", 1.2), (" c", 1)]),
    ("((a))", [("a", 1.2100000000000002)]),
    ("(a (b) c)", [("a ", 1.1), ("b", 1.2100000000000002), (" c", 1.1)]),
    ("(a (b) c:0.5)", [("a ", 0.5), ("b", 0.55), (" c", 0.5)]),
    ("((a:1.2) b:1.5)", [("a", 1.2), (" b", 1.5)]),
    ("((a:1.2))", [("a", 1.2)]),
    ("(a:1.2)(b)", [("a", 1.2), ("b", 1.1)]),
    ("(a: 0.5 )", [("a", 0.5)]),
    ("(a:-1)", [("a", -1)]),
    ("(a:0)", [("a", 0)]),
    ("(a:2e-1)", [("a", 0.2)]),
    ("(a:b:1.3)", [("a:b", 1.3)]),
    ("(a:)", [("a:", 1.1)]),
    ("(a:b)", [("a:b", 1.1)]),
    ("(:1.2)", [(":1.2", 1.1)]),
    ("()", []),
    ("a:1.2", [("a:1.2", 1)]),
    ("[a] {b} <c:1>", [("[a] {b} <c:1>", 1)]),
]
ESCAPED = [
    (r"\(a\) (b\):0.5)", [("(a) ", 1), ("b)", 0.5)]),
    (r"(\(a\))", [("(a)", 1.1)]),
    (r"\(a)", [("(a)", 1)]),
    (r"\\(a)", [("\\(a)", 1)]),
    (r"a\b \ c", [("a\\b \\ c", 1)]),
    (r"(a:1.1\:2)", [("a:1.1\\", 2)]),
    ("a\\", [("a\\", 1)]),
]
UNBALANCED = [
    ("(", [("(", 1)]),
    (")", [(")", 1)]),
    (")(", [(")(", 1)]),
    ("(a (b) c", [("(a (b) c", 1)]),
    ("(a (b)", [("a ", 1.1), ("(b", 1.1)]),
    ("(a (b:1.2)", [("a ", 1.2), ("(b", 1.2)]),
    ("a) (b) (c)", [("a) (b) (c)", 1)]),
    ("a)(b:1.5)", [("a)(b:1.5)", 1)]),
    ("(a) b) (c)", [("a", 1.1), (" b) (c)", 1)]),
]


@pytest.mark.parametrize(("text", "expected"), [*PARSED, *ESCAPED, *UNBALANCED])
def test_segments(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(segment.text, segment.weight) for segment in parse_prompt(text)] == expected


@pytest.mark.parametrize("word", ["nan", "inf", "infinity", "-inf", "1e999"])
def test_a_weight_is_a_finite_number(word: str) -> None:
    assert parse_prompt(f"(bread:{word})") == (Segment(f"bread:{word}", 1.1),)


def test_brackets_nest_as_deep_as_they_like() -> None:
    (segment,) = parse_prompt("(" * 2000 + "a" + ")" * 2000)
    assert segment.text == "a"
    assert segment.weight == pytest.approx(1.1**2000)


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet=r"()\:.12 ab"))
def test_any_text_is_a_prompt(text: str) -> None:
    segments = parse_prompt(text)
    assert all(segment.text for segment in segments)
    letters = [character for character in text if character in "ab"]
    assert [character for segment in segments for character in segment.text if character in "ab"] == letters


def test_the_empty_prompt_is_one_chunk() -> None:
    assert _ids("") == [[START] + [END] * 76]
    assert _ids(" ( ) ") == _ids("")
    assert _chunks("") == (empty_chunk(_clip()),)


def test_weights_stay_with_their_tokens() -> None:
    (chunk,) = _chunks("a (red:1.3) cat (big (dog))")
    assert chunk[:8] == (
        WeightedToken(START, 1),
        WeightedToken(320, 1),
        WeightedToken(736, 1.3),
        WeightedToken(CAT, 1),
        WeightedToken(1205, 1.1),
        WeightedToken(1929, 1.2100000000000002),
        WeightedToken(END, 1),
        WeightedToken(END, 1),
    )
    assert len(chunk) == 77


@pytest.mark.parametrize(("words", "expected"), [(74, 1), (75, 1), (76, 2), (150, 2), (151, 3), (1000, 14)])
def test_long_prompts_fill_chunk_after_chunk(words: int, expected: int) -> None:
    chunks = _ids("cat " * words)
    assert [len(chunk) for chunk in chunks] == [77] * expected
    assert all(chunk[0] == START and chunk[76] == END for chunk in chunks)
    assert all(chunk[1:76] == [CAT] * 75 for chunk in chunks[:-1])
    assert sum(chunk.count(CAT) for chunk in chunks) == words


def test_a_short_part_is_not_cut() -> None:
    first, second = _chunks("cat " * 70 + "(a b c d e f g:1.5) end")
    assert [token.id for token in first] == [START] + [CAT] * 70 + [END] * 6
    assert [token.id for token in second] == [START, *range(320, 327), 806] + [END] * 68
    assert [number for number, token in enumerate(second) if token.weight == 1.5] == [1, 2, 3, 4, 5, 6, 7]


def test_a_part_of_eight_tokens_is_cut() -> None:
    first, second = _ids("cat " * 70 + "(a b c d e f g h:1.5) end")
    assert first == [START] + [CAT] * 70 + [320, 321, 322, 323, 324] + [END]
    assert second == [START, 325, 326, 327, 806] + [END] * 72


def test_parts_that_end_where_a_chunk_does() -> None:
    short, long = Part((CAT,) * 5), Part((1929,) * 9)
    chunks = pack_chunks([*[short] * 15, long], _clip())
    assert [[token.id for token in chunk] for chunk in chunks] == [
        [START] + [CAT] * 75 + [END],
        [START] + [1929] * 9 + [END] * 67,
    ]
    assert len(pack_chunks([short] * 15, _clip())) == 1


def test_chunks_of_another_length() -> None:
    chunks = pack_chunks([Part((1, 2, 3, 4, 5, 6, 7), 0.5)], _clip(), length=5)
    assert [[token.id for token in chunk] for chunk in chunks] == [
        [START, 1, 2, 3, END],
        [START, 4, 5, 6, END],
        [START, 7, END, END, END],
    ]
    with pytest.raises(ValueError, match="chunks of 2 tokens have no room"):
        pack_chunks([], _clip(), length=2)
