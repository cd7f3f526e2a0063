"""What an error must be to be told to a person: raised on purpose, by this product, in words."""

from __future__ import annotations

import re
from pathlib import Path

from graph.events import NodeError

ROOT = Path(__file__).parents[3]
OWN_FOLDERS = ("cli", "diffusion", "graph", "imaging", "nodes")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_PLAIN = frozenset({"ValueError", "FileNotFoundError"})
_SHORTEST = 15


def about_error(error: NodeError) -> str | None:
    """What keeps an error from being one that a person can use; None if nothing does."""
    kind = error.exception_type
    if kind not in _PLAIN and kind.partition(".")[0] not in OWN_FOLDERS:
        return "not an error meant for people"
    if len(error.message) < _SHORTEST or " " not in error.message:
        return "an error that says too little"
    frames = [match for part in error.traceback for match in _FRAME.finditer(part)]
    if kind.startswith("graph."):
        return None
    if not frames:
        return "an error from nowhere"
    file, line = Path(frames[-1]["file"]), int(frames[-1]["line"])
    if not file.is_relative_to(ROOT) or file.relative_to(ROOT).parts[0] not in OWN_FOLDERS:
        return f"an error that {file.name} raised, and nobody put into words"
    raised = file.read_text().splitlines()[line - 1].strip()
    return None if raised.startswith("raise") else f"an error by accident, at {file.name}:{line}"
