"""JSON text as Python values, and what is wrong with a text that cannot be read, in words."""

from __future__ import annotations

import codecs
import json
from typing import Any

from graph.errors import Fault, WorkflowError
from graph.wording import shown

_LONGEST_LINE = 80
_CLOSING = ("}", "]")


def parse(text: str | bytes) -> Any:
    """JSON text as Python values. Raises WorkflowError, whatever is wrong with it, a name given twice too.

    Bytes are UTF-8, or UTF-16 with the mark that says so.
    """
    objects = _Objects()
    try:
        decoded = (_decoded(text) if isinstance(text, bytes) else text).removeprefix("\ufeff")
        document = json.loads(decoded, object_pairs_hook=objects.read)
    except json.JSONDecodeError as error:
        reason = _syntax(error) if error.doc.strip() else "the file is empty"
    except UnicodeDecodeError as error:
        reason = f"it is not text in UTF-8 (byte {error.start}); save it as UTF-8"
    except RecursionError:
        reason = "its values are nested too deeply"
    except ValueError:
        # Python's own words for a whole number of thousands of digits are about Python's settings.
        reason = "a number in it has too many digits"
    else:
        if objects.twice is None:
            return document
        reason = objects.reason(document)
    raise unreadable(reason, text[:80])


def unreadable(reason: str, found: Any) -> WorkflowError:
    """The error for a workflow that cannot be read at all."""
    return WorkflowError([Fault("invalid_json", f"The workflow cannot be read: {reason}.", found=found)])


def kind_of_json(value: Any) -> str:
    """What stands in place of an object, in JSON's terms: a list is not written out."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "a list" if isinstance(value, list) else shown(value)


class _Objects:
    """Reads a text's objects. twice: the first name found to be twice in one object, and that object."""

    def __init__(self) -> None:
        self.twice: tuple[str, dict[str, Any]] | None = None

    def read(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        if self.twice is None:
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    self.twice = name, made
                    break
                seen.add(name)
        return made

    def reason(self, document: Any) -> str:
        assert self.twice is not None
        name, made = self.twice
        inner = document.get("prompt") if isinstance(document, dict) else None
        of_nodes = made is inner or (made is document and not isinstance(inner, dict))
        what = "the node id" if of_nodes else "in one object, the name"
        return f"{what} {shown(name)} is there twice; take one of them out"


def _decoded(text: bytes) -> str:
    marked = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return text.decode("utf-16" if marked else "utf-8")


def _syntax(error: json.JSONDecodeError) -> str:
    """What is wrong, the line it is in, and whether a comma is the likely cause."""
    text, position = error.doc, error.pos
    before, after = text[:position].rstrip(), text[position:].lstrip()
    # Newer versions of Python stop at the comma itself rather than behind it.
    too_many = before.endswith(",") and after.startswith(_CLOSING)
    too_many = too_many or (after.startswith(",") and after[1:].lstrip().startswith(_CLOSING))
    missing = error.msg.startswith("Expecting ',' delimiter") and after != ""
    earlier = (too_many or missing) and "\n" in text[len(before) : position]
    seen = len(before) if earlier else position
    begin = max(text.rfind("\n", 0, seen) + 1, seen - _LONGEST_LINE // 2)
    line = text[begin : begin + _LONGEST_LINE].split("\n", 1)[0].strip()
    reason = f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    if too_many or missing:
        reason += f"; is there a comma {'too many' if too_many else 'missing'}"
        reason += f" at the end of the line before: {line}" if earlier else f" in: {line}"
    elif line:
        reason += f", in: {line}"
    return reason
