"""Fills values into a text that a stranger may have written: names and number formats, and nothing else of Python's."""

import re
import string
from collections.abc import Mapping

Value = str | int | float | bool
_NUMBER_FORMAT = re.compile(r"[-+ ]?0?\d{0,3},?(\.\d{1,2})?[deEfgGxX%]?")
_TEXT_FORMAT = re.compile(r"[<>^]?\d{0,3}")


def fill(template: str, values: Mapping[str, Value]) -> str:
    """`template` with each {name} or {name:format} replaced. {{ and }} stand for braces.

    Formats are Python's for numbers (`.2f`, `04d`, `,`, `%`) and `<`, `>`, `^` with a width for texts; widths go up to
    999. Attributes, indices and conversions are refused. Raises ValueError that says what is wrong.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"The template cannot be read ({error}). Write {{a}} for a value, and {{{{ or }}}} for a brace."
        ) from error
    return "".join(
        text if name is None else text + _filled(name, spec or "", conversion, values)
        for text, name, spec, conversion in parts
    )


def _filled(name: str, spec: str, conversion: str | None, values: Mapping[str, Value]) -> str:
    if name not in values or conversion:
        known = ", ".join(f"{{{known}}}" for known in values) or "none: connect a value"
        shown = f"{{{name}{'!' + conversion if conversion else ''}}}"
        raise ValueError(f"The template asks for {shown[:80]}; the values that it may name are {known}.")
    value = values[name]
    allowed = _TEXT_FORMAT if isinstance(value, str | bool) else _NUMBER_FORMAT
    if not allowed.fullmatch(spec):
        raise ValueError(
            f"The template shows {{{name}}} as {spec[:40]!r}, which is no format for "
            f"{'a text' if allowed is _TEXT_FORMAT else 'a number'}; write .2f, 04d or nothing for a number, "
            "<20 or nothing for a text."
        )
    try:
        return format(str(value) if isinstance(value, bool) else value, spec)
    except ValueError as error:
        raise ValueError(f"{{{name}}} is {value!r}, which cannot be shown as {spec!r}: {error}.") from error
