"""Pages that map another program's options to nodes: their tables, read, and each row carried out."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cli.overrides import with_overrides
from graph import Folders, Workflow, validate
from nodes import REGISTRY


@dataclass(frozen=True)
class Row:
    """A row of such a table: | `option` | default | Node, `input` | `--set ...` |."""

    option: str
    default: str
    class_type: str
    input: str
    setting: str

    def carried_out(self, known: Workflow, folders: Folders) -> tuple[str, Workflow]:
        """(the node's id, the workflow after the setting); fails unless it changes the input that the row names."""
        changed = with_overrides(known, REGISTRY, [self.setting], None)
        assert validate(changed, REGISTRY, folders) == [], self.setting
        found = [
            node_id
            for node_id, node in changed.nodes.items()
            if node.class_type == self.class_type
            and with_overrides(known, REGISTRY, [f"{node_id}.{self.input}={self._value}"], None) == changed
        ]
        assert found, f"{self.setting} is not {self.input} of {self.class_type}"
        return found[0], changed

    @property
    def _value(self) -> str:
        return self.setting.partition("=")[2]


def rows(page: Path, heading: str) -> list[Row]:
    """The rows of the table under a heading."""
    section = page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [_row(line) for line in section.splitlines() if line.startswith("| `")]


def _row(line: str) -> Row:
    option, default, place, saying = (cell.strip() for cell in line.strip("|").split(" | "))
    node = re.fullmatch(r"(\w+), `(\w+)`", place)
    assert node, line
    word, setting = shlex.split(saying.strip("`"))
    assert word == "--set"
    return Row(option.strip("`"), default, node[1], node[2], setting)


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(workflow file, settings) of each command in the page's first block of code."""
    block = page.read_text().split("```")[1].replace("\\\n", " ")
    found = []
    for words in map(shlex.split, filter(str.strip, block.splitlines())):
        settings = [value for name, value in pairwise(words) if name == "--set"]
        found.append((words[words.index("--run") + 1], settings))
    return found
