"""Nodes for plain values."""

from nodes.values import (
    preview_any,
    primitive_boolean,
    primitive_float,
    primitive_int,
    primitive_string,
    primitive_string_multiline,
)


def test_primitives_hand_on_what_they_hold() -> None:
    assert primitive_int(value=-3) == -3
    assert primitive_float(value=0.25) == 0.25
    assert primitive_string(value="a") == "a"
    assert primitive_string_multiline(value="a\nb") == "a\nb"
    assert primitive_boolean(value=True) is True


def test_preview_shows_anything_as_text() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd"

    shown = [preview_any(source=value).ui["text"][0] for value in ("é", 3, [1, "ü"], None, Odd())]
    assert shown == ["é", "3", '[1, "ü"]', "null", "odd"]
