"""Nodes for plain values: numbers, text, switches, and a look at anything."""

import json
import sys
from typing import Annotated, Any

from graph import Choice, Range, Seed, Shown, Text, node

LongText = Annotated[str, Text(multiline=True)]


@node("PrimitiveInt", title="Int", category="utils/primitive")
def primitive_int(*, value: Annotated[int, Seed(-sys.maxsize, sys.maxsize)]) -> int:
    """A whole number.

    Inputs:
        value: The number.

    Outputs:
        INT: The number.
    """
    return value


@node("PrimitiveFloat", title="Float", category="utils/primitive")
def primitive_float(*, value: Annotated[float, Range(-sys.maxsize, sys.maxsize)]) -> float:
    """A number.

    Inputs:
        value: The number.

    Outputs:
        FLOAT: The number.
    """
    return value


@node("PrimitiveString", title="String", category="utils/primitive")
def primitive_string(*, value: str) -> str:
    """A line of text.

    Inputs:
        value: The text.

    Outputs:
        STRING: The text.
    """
    return value


@node("PrimitiveStringMultiline", title="String (Multiline)", category="utils/primitive")
def primitive_string_multiline(*, value: LongText) -> str:
    """Text of any length.

    Inputs:
        value: The text.

    Outputs:
        STRING: The text.
    """
    return value


@node("PrimitiveBoolean", title="Boolean", category="utils/primitive")
def primitive_boolean(*, value: bool) -> bool:
    """Yes or no.

    Inputs:
        value: The value.

    Outputs:
        BOOLEAN: The value.
    """
    return value


@node("StringConcatenate", title="Concatenate", category="utils/string")
def string_concatenate(*, string_a: LongText, string_b: LongText, delimiter: str = "") -> str:
    """Two texts, one after the other.

    Inputs:
        string_a: The first text.
        string_b: The second text.
        delimiter: What stands between them.

    Outputs:
        STRING: The joined text.
    """
    return delimiter.join((string_a, string_b))


@node("StringTrim", title="Trim", category="utils/string")
def string_trim(*, string: LongText, mode: Annotated[str, Choice(("Both", "Left", "Right"))] = "Both") -> str:
    """Text without the white space at its ends.

    Inputs:
        string: The text.
        mode: Which end to trim.

    Outputs:
        STRING: The trimmed text.
    """
    trim = {"Both": str.strip, "Left": str.lstrip, "Right": str.rstrip}[mode]
    return trim(string)


@node("StringReplace", title="Replace", category="utils/string")
def string_replace(*, string: LongText, find: LongText, replace: LongText) -> str:
    """Text with every occurrence of one part replaced by another.

    Inputs:
        string: The text.
        find: What to look for, letter by letter.
        replace: What to put in its place.

    Outputs:
        STRING: The changed text.
    """
    return string.replace(find, replace)


@node("PreviewAny", title="Preview Any", category="utils", output=True)
def preview_any(*, source: Any) -> Shown[None]:
    """Show any value as text.

    Inputs:
        source: The value.
    """
    return Shown(None, ui={"text": [_as_text(source)]})


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)
