"""Prompt scheduling, AND and emphasis: the expected values are those documented for AUTOMATIC1111's web UI."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.conditioning.scheduled import encode_scheduled
from diffusion.config import TextConfig
from diffusion.model import Clip
from diffusion.runtime import Runtime
from diffusion.text.emphasis import emphasised
from diffusion.text.encode import encode
from diffusion.text.prompt import Segment
from diffusion.text.schedule import composed, stretches
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Cond, Conditioning
from tests.diffusion.text_reference import text_weights

CONFIG = TextConfig(vocab_size=520, width=16, layers=1, num_heads=2, hidden=32)
CLIP = Clip(text_weights(CONFIG), CONFIG, Tokenizer.from_merges(("c a", "ca t</w>")), Runtime())

SCHEDULES = [
    ("test", [(10, "test")]),
    ("a [b:3]", [(3, "a "), (10, "a b")]),
    ("a [b: 3]", [(3, "a "), (10, "a b")]),
    ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
    ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
    ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [unbalanced", [(10, "a [unbalanced")]),
    ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
    ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
    ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("a [b::0.3] c", [(3, "a b c"), (10, "a  c")]),
    ("a [:b:0.3]", [(3, "a "), (10, "a b")]),
    ("[a:b:1.0]", [(10, "a")]),
    ("[a:b:0]", [(10, "b")]),
    ("[a:b:-1]", [(10, "b")]),
    ("[a:b:99]", [(10, "a")]),
    ("[a:b:0.05]", [(10, "b")]),
    ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
    ("[a:b:x]", [(10, "[a:b:x]")]),
    (r"\[a:b:0.5\]", [(10, r"\[a:b:0.5\]")]),
    (r"[a\:b:0.5]", [(5, ""), (10, r"a\:b")]),
    ("[(a:1.2) x:(b:0.5) y:0.5]", [(5, "(a:1.2) x"), (10, "(b:0.5) y")]),
    ("", [(10, "")]),
]


@pytest.mark.parametrize(("prompt", "expected"), SCHEDULES)
def test_schedules(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert [(each.end, each.text) for each in stretches(prompt, 10)] == expected


def test_alternation_goes_step_by_step() -> None:
    said = [(each.first, each.end, each.text) for each in stretches("[a|(b:1.1)|]x", 5)]
    assert said == [(0, 1, "ax"), (1, 2, "(b:1.1)x"), (2, 3, "x"), (3, 4, "ax"), (4, 5, "(b:1.1)x")]
    assert [each.text for each in stretches("[[a|b]:c:2]", 4)] == ["a", "b", "c"]
    assert [each.text for each in stretches("[a|b:c]", 3)] == ["a", "b:c", "a"]


def test_the_documented_example() -> None:
    prompt = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
        "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]"
    )
    assert [
        (each.end, each.text.removeprefix("fantasy landscape with a ")) for each in stretches(prompt, 100)
    ] == [
        (25, "mountain and an oak in foreground shoddy"),
        (50, "lake and an oak in foreground in background shoddy"),
        (60, "lake and an oak in foreground in background masterful"),
        (75, "lake and an oak in background masterful"),
        (100, "lake and a christmas tree in background masterful"),
    ]


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet="[]():|\\ab1. "), st.integers(1, 12))
def test_any_text_has_a_schedule_without_gaps(prompt: str, steps: int) -> None:
    told = stretches(prompt, steps)
    assert [each.first for each in told] == [0, *(each.end for each in told[:-1])]
    assert told[-1].end == steps
    assert all(each.first < each.end for each in told)
    if not set(prompt) & set("[]"):
        assert [each.text for each in told] == [prompt]


def test_and_splits_prompts_with_weights() -> None:
    assert composed("a cat") == (("a cat", 1.0),)
    assert composed("a cat :1.2 AND a dog AND a fish: -0.5") == (
        ("a cat", 1.2),
        (" a dog", 1.0),
        (" a fish", -0.5),
    )
    assert composed("SAND and ANDY") == (("SAND and ANDY", 1.0),)
    assert composed("(a:1.3)") == (("(a:1.3)", 1.0),)


EMPHASIS = [
    ("normal text", [("normal text", 1.0)]),
    ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    (r"\(literal\]", [("(literal]", 1.0)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            ("a ", 1.0),
            ("house", 1.5730000000000004),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641000000000006),
            (".", 1.1),
        ],
    ),
    ("[weak]", [("weak", 1 / 1.1)]),
    ("a:1.2) b", [("a:1.2) b", 1.0)]),
    ("(a: b)", [("a: b", 1.1)]),
    ("(a:1.2.3)", [("a:1.2.3)", 1.1)]),
    ("a\\", [("a", 1.0)]),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), EMPHASIS)
def test_emphasis(text: str, expected: list[tuple[str, float]]) -> None:
    found = emphasised(text)
    assert [segment.text for segment in found] == [part for part, _ in expected]
    assert [segment.weight for segment in found] == pytest.approx([weight for _, weight in expected])


def test_emphasis_of_many_words_and_brackets() -> None:
    assert len(emphasised("(a)b" * 3000)) == 6000
    (segment,) = emphasised("(" * 200 + "a")
    assert segment == Segment("a", segment.weight)
    assert segment.weight == pytest.approx(1.1**200)


def said(entry: Cond) -> tuple[float, float, float]:
    """When an entry counts, as shares of the steps, and how strongly."""
    first, end = entry.scope.steps or (0, 1)
    return float(first), float(end), entry.scope.strength


def same(entry: Cond, text: str) -> bool:
    return torch.equal(entry.embedding, encode(CLIP, text).entries[0].embedding)


def test_every_text_is_an_entry_with_its_steps() -> None:
    entries = encode_scheduled(CLIP, "a [cat:(cat:1.3):0.25]", steps=8).entries
    assert [said(entry) for entry in entries] == [(0, 0.25, 1), (0.25, 1, 1)]
    assert same(entries[0], "a cat")
    assert same(entries[1], "a (cat:1.3)")


def test_a_plain_prompt_is_as_elsewhere() -> None:
    (entry,) = encode_scheduled(CLIP, "a cat", steps=8).entries
    assert said(entry) == (0, 1, 1)
    assert entry.scope.steps is None
    assert same(entry, "a cat")


def test_a_text_that_comes_back_is_encoded_once() -> None:
    entries = encode_scheduled(CLIP, "[a|cat]", steps=6).entries
    assert len(entries) == 6
    assert len({id(entry.embedding) for entry in entries}) == 2


def test_and_is_led_away_from_the_negative() -> None:
    """n + sum w (x - n): what remains of the weights is the negative prompt's."""
    negative = encode(CLIP, "dog")
    entries = encode_scheduled(CLIP, "a :0.5 AND cat :2", steps=4, negative=negative).entries
    assert [entry.scope.strength for entry in entries] == [0.5, 2.0, -1.5]
    assert same(entries[2], "dog")
    assert same(encode_scheduled(CLIP, "a AND cat", steps=4).entries[2], "")
    assert len(encode_scheduled(CLIP, "a :0.5 AND cat :0.5", steps=4).entries) == 2


def test_embeddings_and_break_are_read() -> None:
    vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    found = encode_scheduled(CLIP, "[embedding:x:cat:2]", steps=4, find=lambda name: vectors).entries
    expected: Conditioning = encode(CLIP, "embedding:x", lambda name: vectors)
    assert torch.equal(found[0].embedding, expected.entries[0].embedding)
    assert encode_scheduled(CLIP, "a BREAK cat", steps=4).entries[0].embedding.shape[1] == 2 * 77


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_have_bounds(steps: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 1000 steps; got {steps}"):
        encode_scheduled(CLIP, "cat", steps=steps)
