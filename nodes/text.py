"""Nodes for text: joined, cut, changed and compared."""

from typing import Annotated

from graph import Choice, Range, Text, node
from nodes.limits import MOST_CHARACTERS, check_length, limited
from nodes.text_format import fill

LongText = Annotated[str, Text(multiline=True)]


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
    return limited(delimiter.join((string_a, string_b)))


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
    check_length(len(string) + string.count(find) * (len(replace) - len(find)))
    return string.replace(find, replace)


@node("StringSubstring", title="Substring", category="utils/string")
def string_substring(
    *,
    string: LongText,
    start: Annotated[int, Range(-MOST_CHARACTERS, MOST_CHARACTERS)],
    end: Annotated[int, Range(-MOST_CHARACTERS, MOST_CHARACTERS)],
) -> str:
    """A part of a text.

    Inputs:
        string: The text.
        start: The first character, counted from 0; below 0 counts from the end.
        end: The character to stop before; below 0 counts from the end.

    Outputs:
        STRING: The part; empty when end is not behind start.
    """
    return string[start:end]


@node("StringLength", title="Length", category="utils/string")
def string_length(*, string: LongText) -> int:
    """How long a text is.

    Inputs:
        string: The text.

    Outputs:
        INT: Its number of characters.
    """
    return len(string)


@node("CaseConverter", title="Case Converter", category="utils/string")
def case_converter(
    *,
    string: LongText,
    mode: Annotated[str, Choice(("UPPERCASE", "lowercase", "Capitalize", "Title Case"))] = "UPPERCASE",
) -> str:
    """Text in other letter case.

    Inputs:
        string: The text.
        mode: All capitals, all small, a capital first, or a capital at each word.

    Outputs:
        STRING: The changed text.
    """
    convert = {
        "UPPERCASE": str.upper,
        "lowercase": str.lower,
        "Capitalize": str.capitalize,
        "Title Case": str.title,
    }[mode]
    return convert(string)


@node("StringContains", title="Contains", category="utils/string")
def string_contains(*, string: LongText, substring: LongText, case_sensitive: bool = True) -> bool:
    """Whether a text is part of another.

    Inputs:
        string: The text to look in.
        substring: What to look for.
        case_sensitive: Whether capital and small letters differ.

    Outputs:
        BOOLEAN: Whether it is there.
    """
    string, substring = _cased(string, substring, case_sensitive)
    return substring in string


@node("StringCompare", title="Compare", category="utils/string")
def string_compare(
    *,
    string_a: LongText,
    string_b: LongText,
    mode: Annotated[str, Choice(("Starts With", "Ends With", "Equal"))] = "Starts With",
    case_sensitive: bool = True,
) -> bool:
    """Whether a text is like another.

    Inputs:
        string_a: The text.
        string_b: What to compare it with.
        mode: Whether string_a starts with string_b, ends with it, or equals it.
        case_sensitive: Whether capital and small letters differ.

    Outputs:
        BOOLEAN: Whether it is so.
    """
    a, b = _cased(string_a, string_b, case_sensitive)
    if mode == "Equal":
        return a == b
    return a.startswith(b) if mode == "Starts With" else a.endswith(b)


def _cased(a: str, b: str, case_sensitive: bool) -> tuple[str, str]:
    return (a, b) if case_sensitive else (a.lower(), b.lower())


@node("StringFormat", title="Format Text", category="utils/string")
def string_format(
    *,
    template: LongText,
    a: str | int | float | bool | None = None,
    b: str | int | float | bool | None = None,
    c: str | int | float | bool | None = None,
    d: str | int | float | bool | None = None,
) -> str:
    """A text with values filled in.

    Inputs:
        template: The text, with {a}, {b}, {c}, {d} where the values go. A colon adds how: {a:.2f} has two digits after
            the point, {a:04d} is filled up with zeros to 4 digits. {{ and }} are plain braces.
        a: The value of {a}.
        b: The value of {b}.
        c: The value of {c}.
        d: The value of {d}.

    Outputs:
        STRING: The filled-in text.
    """
    given = {"a": a, "b": b, "c": c, "d": d}
    return limited(fill(template, {name: value for name, value in given.items() if value is not None}))
