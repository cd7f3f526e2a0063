"""Reads a node's docstring: its description, and the lines under "Inputs:" and "Outputs:"."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_ENTRY = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*:\s*(?P<text>.*)")
_SECTIONS = {"inputs:": "inputs", "outputs:": "outputs"}


@dataclass(frozen=True)
class Docstring:
    """description: all text outside of the sections, paragraphs kept. inputs, outputs: texts by name."""

    description: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def read_docstring(text: str) -> Docstring:
    """Split a docstring. A section ends at a blank line; a line indented deeper continues the entry above it."""
    sections: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
    description: list[str] = []
    section: dict[str, str] | None = None
    name, indent = "", 0
    for line in inspect.cleandoc(text).splitlines():
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        heading = _SECTIONS.get(stripped.lower()) if depth == 0 else None
        entry = _ENTRY.fullmatch(stripped)
        if heading:
            section, name, indent = sections[heading], "", 0
        elif section is None:
            description.append(line.rstrip())
        elif not stripped:
            section = None
            description.append("")
        elif entry and (not name or depth <= indent):
            name, indent = entry["name"], depth
            section[name] = entry["text"]
        elif name:
            section[name] = f"{section[name]} {stripped}".strip()
        else:
            description.append(line.rstrip())
    paragraphs = re.sub(r"\n{3,}", "\n\n", "\n".join(description)).strip()
    return Docstring(paragraphs, sections["inputs"], sections["outputs"])
