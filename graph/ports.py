"""Metadata of inputs, written in Annotated: each checks a value and describes itself to an editor."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from graph.errors import Problem, UnsafePath
from graph.folders import Folders

MOST_CHOICES_SHOWN = 12


@runtime_checkable
class Rule(Protocol):
    """What an input's value must be, beyond its type."""

    def problem(self, value: Any, folders: Folders) -> Problem | None:
        """What is wrong with `value`, which has the input's type already; None if nothing is."""
        ...

    def describe(self, folders: Folders) -> dict[str, Any]:
        """The editor's options for this input."""
        ...

    def unsuitable(self, socket: str) -> str | None:
        """Why this rule cannot stand on an input of that type; None if it can."""
        ...


@dataclass(frozen=True)
class Range:
    """A number from low to high, both included. `step` is what an editor's widget moves by, and is not checked."""

    low: float
    high: float
    step: float | None = None

    def problem(self, value: float, folders: Folders) -> Problem | None:
        if value < self.low:
            return Problem("value_smaller_than_min", f"at least {self.low}")
        if value > self.high:
            return Problem("value_bigger_than_max", f"at most {self.high}")
        return None

    def describe(self, folders: Folders) -> dict[str, Any]:
        options = {"min": self.low, "max": self.high, "step": self.step}
        return {name: bound for name, bound in options.items() if bound is not None and not math.isinf(bound)}

    def unsuitable(self, socket: str) -> str | None:
        if socket not in ("INT", "FLOAT"):
            return "Range stands on int and float only"
        if not self.low <= self.high:
            return f"Range({self.low}, {self.high}) is empty"
        return None


@dataclass(frozen=True)
class Seed(Range):
    """A whole number that starts a random generator; editors offer to change it after each run."""

    low: float = 0
    high: float = 2**64 - 1

    def describe(self, folders: Folders) -> dict[str, Any]:
        return super().describe(folders) | {"control_after_generate": True}

    def unsuitable(self, socket: str) -> str | None:
        return "Seed stands on int only" if socket != "INT" else super().unsuitable(socket)


@dataclass(frozen=True)
class Text:
    """How a string is edited. dynamic_prompts: whether an editor may resolve {this|that} before it sends the text."""

    multiline: bool = True
    placeholder: str = ""
    dynamic_prompts: bool = False

    def problem(self, value: str, folders: Folders) -> Problem | None:
        return None

    def describe(self, folders: Folders) -> dict[str, Any]:
        options = {"multiline": self.multiline, "placeholder": self.placeholder}
        return {name: value for name, value in options.items() if value} | (
            {"dynamicPrompts": True} if self.dynamic_prompts else {}
        )

    def unsuitable(self, socket: str) -> str | None:
        return "Text stands on str only" if socket != "STRING" else None


@dataclass(frozen=True)
class Choice:
    """One of the given values. A callable is asked each time, so its list may grow while the process runs."""

    options: Sequence[str] | Callable[[], Sequence[str]]

    def choices(self, folders: Folders) -> tuple[str, ...]:
        return tuple(self.options() if callable(self.options) else self.options)

    def problem(self, value: str, folders: Folders) -> Problem | None:
        choices = self.choices(folders)
        return None if value in choices else _not_in_list(value, choices)

    def describe(self, folders: Folders) -> dict[str, Any]:
        return {}

    def unsuitable(self, socket: str) -> str | None:
        return "Choice stands on str only" if socket != "STRING" else None


@dataclass(frozen=True)
class File:
    """The name of a file in one of the folders, relative to it, with / between its parts.

    suffixes: lower-case endings that are offered, such as (".safetensors", ".ckpt"); empty for every file.
    upload: whether an editor offers to bring a picture into the folder.
    """

    kind: str
    suffixes: tuple[str, ...] = ()
    upload: bool = False

    def choices(self, folders: Folders) -> tuple[str, ...]:
        names = folders.list(self.kind)
        return (
            tuple(name for name in names if name.lower().endswith(self.suffixes)) if self.suffixes else names
        )

    def problem(self, value: str, folders: Folders) -> Problem | None:
        try:
            folders.find(self.kind, value)
        except UnsafePath:
            return Problem("value_not_in_list", f"the name of a file inside the folder {self.kind}")
        except OSError:
            return _not_in_list(value, self.choices(folders), f"a file in the folder {self.kind}")
        return None

    def describe(self, folders: Folders) -> dict[str, Any]:
        return {"image_upload": True} if self.upload else {}

    def unsuitable(self, socket: str) -> str | None:
        return "File stands on str only" if socket != "STRING" else None


@dataclass(frozen=True)
class Socket:
    """The name of an input's or output's type, where the field's own differs from the Python type's."""

    name: str


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.5) -> str | None:
    """The known name that `name` is most likely a slip for, letter case aside; None if none is that much alike."""
    by_folded = {known_name.casefold(): known_name for known_name in known}
    found = difflib.get_close_matches(name[:200].casefold(), by_folded, n=1, cutoff=likeness)
    return by_folded[found[0]] if found else None


def _not_in_list(value: str, choices: Sequence[str], what: str = "") -> Problem:
    if not choices:
        return Problem("value_not_in_list", f"{what or 'one of the choices'}, but there are none")
    shown = ", ".join(repr(choice) for choice in choices[:MOST_CHOICES_SHOWN])
    if len(choices) > MOST_CHOICES_SHOWN:
        shown += f", ... ({len(choices)} in all)"
    return Problem(
        "value_not_in_list", f"{what + ': ' if what else ''}one of {shown}", nearest(value, choices)
    )
