"""Nodes for plain values: numbers, text, and a look at anything."""

import json
import sys
from typing import Annotated, Any

from graph import Range, Seed, Shown, Text, node

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


@node("PreviewAny", title="Preview Any", category="utils", output=True)
def preview_any(*, source: Any) -> Shown[None]:
    """Show any value as text.

    Inputs:
        source: The value.
    """
    return Shown(None, ui={"text": [_as_text(source)]})


@node("ShowText", title="Show Text", category="utils", output=True)
def show_text(*, text: list[str]) -> Shown[list[str]]:
    """Show texts, and pass them on.

    Inputs:
        text: The text, or a list of texts, one below the other.

    Outputs:
        STRING: The same texts, one by one.
    """
    return Shown(text, ui={"text": text})


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)
