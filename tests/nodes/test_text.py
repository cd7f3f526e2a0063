"""Nodes for text, each against what ComfyUI's node of that name gives, or against Python's own text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.text import (
    case_converter,
    string_compare,
    string_concatenate,
    string_contains,
    string_format,
    string_length,
    string_replace,
    string_substring,
    string_trim,
)


def test_texts_are_joined_trimmed_replaced_and_cut() -> None:
    assert string_concatenate(string_a="a", string_b="b", delimiter=", ") == "a, b"
    trimmed = [string_trim(string=" a \n", mode=mode) for mode in ("Both", "Left", "Right")]
    assert trimmed == ["a", "a \n", " a"]
    assert string_replace(string="a.b.c", find=".", replace="-") == "a-b-c"
    assert string_replace(string="ab", find="", replace="-") == "-a-b-"
    assert string_substring(string="abcdef", start=1, end=-2) == "bcd"
    assert string_substring(string="abc", start=2, end=1) == ""
    assert string_length(string="grün") == 4


def test_letter_case() -> None:
    modes = ("UPPERCASE", "lowercase", "Capitalize", "Title Case")
    converted = [case_converter(string="a Red CIRCLE", mode=mode) for mode in modes]
    assert converted == ["A RED CIRCLE", "a red circle", "A red circle", "A Red Circle"]


def test_texts_are_compared_with_and_without_letter_case() -> None:
    assert string_contains(string="A Cat", substring="cat", case_sensitive=False)
    assert not string_contains(string="A Cat", substring="cat", case_sensitive=True)
    modes = ("Starts With", "Ends With", "Equal")

    def compared(a: str, b: str, *, case_sensitive: bool = True) -> list[bool]:
        return [
            string_compare(string_a=a, string_b=b, mode=mode, case_sensitive=case_sensitive) for mode in modes
        ]

    assert compared("abc", "ab") == [True, False, False]
    assert compared("abc", "BC", case_sensitive=False) == [False, True, False]
    assert compared("abc", "ABC") == [False, False, False]
    assert compared("abc", "ABC", case_sensitive=False) == [True, True, True]


def test_values_are_filled_in() -> None:
    assert string_format(template="{a} at {b:.2f}, {{c}}", a="cat", b=1.5) == "cat at 1.50, {c}"
    assert (
        string_format(template="{a:04d} {b:,} {c:>5} {d}", a=7, b=12345, c="x", d=True)
        == "0007 12,345     x True"
    )
    assert string_format(template="plain") == "plain"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{a.__class__}", r"asks for \{a.__class__\}"),
        ("{a[0]}", r"asks for \{a\[0\]\}"),
        ("{a!r}", r"asks for \{a!r\}"),
        ("{e}", r"asks for \{e\}.*\{a\}, \{b\}"),
        ("{}", r"asks for \{\}"),
        ("{a:999999999}", "no format"),
        ("{b:{a}}", "no format"),
        ("{a", "cannot be read"),
        ("}", "cannot be read"),
        ("{b:.2f}{a:.2f}", "no format for a text"),
        ("{c:d}", "1.5, which cannot be shown as 'd'"),
    ],
)
def test_what_is_no_template_is_said(template: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        string_format(template=template, a="x", b=7, c=1.5)


@given(st.text(max_size=40))
def test_no_template_does_more_than_fill_in(template: str) -> None:
    try:
        made = string_format(template=template, a="x", b=2)
    except ValueError:
        return
    assert len(made) < 2000


def test_texts_do_not_grow_without_end() -> None:
    long = "a" * 6_000_000
    with pytest.raises(ValueError, match="12000000 characters; 10000000 are the most"):
        string_concatenate(string_a=long, string_b=long)
    with pytest.raises(ValueError, match="are the most"):
        string_replace(string="a" * 10_000, find="a", replace="b" * 10_000)
