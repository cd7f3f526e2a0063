"""The tokenizer against transformers' CLIPTokenizer, on CLIP's vocabulary and on a small one."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.text.tokenizer import Tokenizer
from diffusion.text.vocabulary import clip_vocabulary, merges_vocabulary

OPENAI_VOCABULARY = "1b471dc4527418e5992de992b19032daebf4b3a052ffb1332375b3edb22e5ca9"
"""sha256 of the JSON list of tokens, in order, of the vocab.json that OpenAI published with CLIP ViT-L/14."""

SMALL_MERGES = (
    *("t h", "th e</w>", "c a", "ca t</w>", "r e", "re d</w>", "o n</w>", "a n", "an d</w>", "Ã ©</w>"),
    *("ca t", "cat s</w>", "l l", "' s</w>", ". .", ".. .</w>", "ð Ł", "i n", "in g</w>", "1 2"),
)
START, END = "<|startoftext|>", "<|endoftext|>"
TEXTS = (
    "",
    " ",
    "a photo of a cat",
    "  leading, \t and \n trailing \r\n spaces  ",
    "I'm sure they've seen it; we'll say it's Bob's, he'd say don't",
    "I'M SURE THEY'VE 'tis O'Brien''s ' '' 's's",
    "1girl, 8k, 4K UHD (masterpiece:1.21) -- 3.14159 1,000,000 ½ ² Ⅷ ٣",
    "café naïve Ångström e\u0301 n\u0303 ﬁ ligature ǅ ẞ ß İstanbul ΣΑΣ",
    "日本語の漢字 中文\uff0c标点。 한국어 ไทย हिन्दी العربية עברית",
    "👩‍👩‍👧 🎉👍🏽 🇩🇪 ❤️ ☃",
    "\x00\x01\x07\x1b[0m \x7f \u0085 \u00a0 \u200b \u200d \u2028 \u3000 \ufeff \ufffd \uffff \U0010ffff",
    "<b>bold</b> &amp; &lt;i&gt; &#39; http://example.com/?q=a%20b#c",
    "snake_case kebab-case CamelCase C++ C# $100 @user #tag a/b\\c [x] {y} |z| <lora:x:1>",
    f"a {END} b {START}c {END.upper()} <|endoftext <| |>",
    "antidisestablishmentarianism" * 40,
    "x" * 3000,
    "!" * 3000,
    "ab" * 500 + "é" * 500 + "漢" * 500,
    "the the the cat cats Cat catcat redand and...... thinking 1212 é",
)


@cache
def _clip() -> Tokenizer:
    return Tokenizer.clip()


@cache
def _small() -> Tokenizer:
    return Tokenizer.from_merges(SMALL_MERGES)


@cache
def _reference(small: bool) -> Any:
    from transformers import CLIPTokenizer

    vocabulary = merges_vocabulary(SMALL_MERGES) if small else clip_vocabulary()
    merges: Any = list(vocabulary.merges)
    return CLIPTokenizer(vocab=dict(vocabulary.ids), merges=merges)


def _expected(reference: Any, text: str) -> tuple[int, ...]:
    start, *ids, end = reference(text)["input_ids"]
    assert (start, end) == (reference.bos_token_id, reference.eos_token_id)
    return tuple(ids)


def _write_small(folder: Path) -> Path:
    """A tokenizer folder of the layout that Stable Diffusion 1.x model folders have."""
    ids = merges_vocabulary(SMALL_MERGES).ids
    (folder / "vocab.json").write_text(json.dumps(dict(ids)), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(SMALL_MERGES) + "\n", encoding="utf-8")
    config = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_clips_vocabulary_is_the_published_one() -> None:
    ids = clip_vocabulary().ids
    in_order = sorted(ids, key=lambda token: ids[token])
    assert [ids[token] for token in in_order] == list(range(49408))
    assert hashlib.sha256(json.dumps(in_order).encode()).hexdigest() == OPENAI_VOCABULARY


def test_well_known_ids() -> None:
    clip = _clip()
    assert clip.encode("a photo of a cat") == (320, 1125, 539, 320, 2368)
    assert (clip.start, clip.end, clip.size) == (49406, 49407, 49408)


@pytest.mark.parametrize("small", [False, True], ids=["clip", "small"])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_ids_equal_transformers(text: str, small: bool) -> None:
    tokenizer = _small() if small else _clip()
    assert tokenizer.encode(text) == _expected(_reference(small), text)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=st.text(max_size=60), small=st.booleans())
def test_ids_equal_transformers_for_any_text(text: str, small: bool) -> None:
    tokenizer = _small() if small else _clip()
    assert tokenizer.encode(text) == _expected(_reference(small), text)


PROMPT_LIKE = st.lists(
    st.sampled_from(
        ["the", "CATS", "'s", "'LL", " ", "...", "12", "é", "e\u0301", "🎉", "漢", "\n", END, "-", ","]
    )
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(words=PROMPT_LIKE, small=st.booleans())
def test_ids_equal_transformers_for_any_mixture(words: list[str], small: bool) -> None:
    text = "".join(words)
    tokenizer = _small() if small else _clip()
    assert tokenizer.encode(text) == _expected(_reference(small), text)


def test_half_surrogate_pairs_are_no_error() -> None:
    assert _clip().encode("a \ud83d cat") == _clip().encode("a \ufffd cat")
    assert _clip().encode("\ud83c\udf89") == _clip().encode("🎉")


def test_a_tokenizer_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _clip().end = 0  # type: ignore[misc]


def test_merges_make_the_vocabulary_as_clip_does() -> None:
    small = _small()
    assert (small.start, small.end, small.size) == (532, 533, 534)
    assert small.encode("the cat") == (513, 515)
    assert small.encode("a") == (64 + 256,)


def test_two_merges_to_one_token_leave_a_gap_as_in_clip() -> None:
    tokenizer = Tokenizer.from_merges(["a b", "b c", "a bc", "ab c"])
    assert (tokenizer.start, tokenizer.end, tokenizer.size) == (516, 517, 518)


def test_a_vocabulary_of_bytes_alone() -> None:
    assert Tokenizer.from_merges([]).encode("ab c") == (64, 65 + 256, 66 + 256)


@pytest.mark.parametrize("merge", ["t", "t h e", "", "xx y", "日 a"])
def test_a_merge_of_unknown_symbols_is_named(merge: str) -> None:
    with pytest.raises(ValueError, match="merge 2 of the tokenizer"):
        Tokenizer.from_merges(["t h", merge])


def test_a_model_folders_tokenizer(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    found = Tokenizer.from_folder(_write_small(tmp_path))
    reference = CLIPTokenizer.from_pretrained(str(tmp_path))
    assert (found.start, found.end, found.size) == (532, 533, 534)
    for text in TEXTS:
        assert found.encode(text) == _expected(reference, text)


def test_a_folder_with_one_file_for_it_all(tmp_path: Path) -> None:
    _reference(small=True).save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    found = Tokenizer.from_folder(tmp_path)
    for text in TEXTS:
        assert found.encode(text) == _small().encode(text)


def test_tokens_added_to_a_folder_are_found_whole(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    reference = CLIPTokenizer.from_pretrained(str(_write_small(before)))
    assert reference.add_tokens(["<cat-toy>"]) == 1
    reference.save_pretrained(after)
    found = Tokenizer.from_folder(after)
    text = "the <cat-toy> and the<cat-toy>cat"
    assert found.encode(text) == _expected(reference, text)
    assert found.encode(text).count(534) == 2
    assert (found.end, found.size) == (533, 535)


@pytest.mark.parametrize("layout", ["added_tokens.json", "tokenizer_config.json"])
def test_tokens_added_beside_the_vocabulary(tmp_path: Path, layout: str) -> None:
    _write_small(tmp_path)
    content: dict[str, object] = {"<cat-toy>": 534}
    if layout == "tokenizer_config.json":
        content = {"added_tokens_decoder": {"534": {"content": "<cat-toy>", "normalized": True}}}
    (tmp_path / layout).write_text(json.dumps(content))
    found = Tokenizer.from_folder(tmp_path)
    assert found.encode("the <cat-toy>") == (513, 534)
    assert found.size == 535


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(
        FileNotFoundError, match=r"no tokenizer in .*tokenizer\.json, or vocab\.json together"
    ):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", "{", r"vocab\.json is not readable JSON"),
        ("vocab.json", '["a"]', r"vocab\.json should hold a JSON object, not a list"),
        ("vocab.json", '{"a": "b"}', r"vocab\.json holds no vocabulary"),
        (
            "vocab.json",
            '{"a": 0}',
            r"vocab\.json is not a CLIP tokenizer's: it has no token <\|startoftext\|>",
        ),
        ("merges.txt", "#version: 0.2\nt h e\n", r"a merge in .*merges\.txt is not two symbols: 't h e'"),
        ("merges.txt", "zz top\n", "the merges of .* do not fit its vocabulary"),
        ("added_tokens.json", '{"<x>": 700}', "token '<x>' of .* can't have the id 700"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"534": {}}}', "has no content or no id"),
        ("tokenizer.json", '{"model": {"type": "Unigram"}}', r"tokenizer\.json holds no byte-pair tokenizer"),
        ("tokenizer.json", "[]", r"tokenizer\.json should hold a JSON object"),
        ("tokenizer.json", '{"model": {"merges": []}}', r"tokenizer\.json holds no vocabulary"),
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": [1]}',
            "added_tokens_decoder in .* should be a dict",
        ),
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": {"x": {"content": "y"}}}',
            "has no content or no id",
        ),
    ],
)
def test_a_damaged_folder_is_an_error_that_names_the_file(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    _write_small(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_folder(tmp_path)


def test_the_notice_tells_origin_and_licence_of_the_shipped_file() -> None:
    data = files("diffusion.text").joinpath("data")
    notice = data.joinpath("NOTICE").read_text(encoding="utf-8")
    digest = hashlib.sha256(data.joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes()).hexdigest()
    assert digest in notice
    assert "open_clip_torch" in notice
    assert "Permission is hereby granted, free of charge" in notice


def test_it_needs_neither_torch_nor_transformers() -> None:
    program = (
        "import sys; from diffusion.text.tokenizer import Tokenizer; Tokenizer.clip().encode('a cat');"
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    root = Path(__file__).parent.parent.parent
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


def test_a_folders_file_that_is_not_text(tmp_path: Path) -> None:
    _write_small(tmp_path).joinpath("merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"merges\.txt is not text in UTF-8"):
        Tokenizer.from_folder(tmp_path)
