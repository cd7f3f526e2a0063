"""What a run tells the person or program that started it: lines and bars on a terminal, or JSON lines."""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from cli.energy import Power
from graph import (
    Event,
    Folders,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    RunFinished,
    RunResult,
)

Report = Callable[[Event], None]


class TerminalReport:
    """One line per node and a bar while it takes steps, on standard error: standard output holds results alone."""

    def __init__(self, stream: TextIO | None = None, power: Power | None = None) -> None:
        self._power = power
        self._stream = stream or sys.stderr
        self._titles: dict[str, str] = {}
        self._bars: dict[str, tqdm[Any]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case NodeStarted(node=node, title=title):
                self._titles[node] = title
            case NodeProgress(node=node, done=done, total=total):
                self._advance(node, done, total)
            case NodeFinished(node=node, seconds=seconds):
                self._line(node, f"{seconds:.2f} s")
            case NodeCached(node=node):
                self._line(node, "from the cache")
            case NodeFailed(node=node):
                self._line(node, "failed")
            case RunFinished(seconds=seconds):
                self._close_bars()
                self._write(f"{seconds:.2f} s in all")
                if self._power is not None:
                    self._write(self._power.summary(seconds))
            case _:
                pass

    def _advance(self, node: str, done: int, total: int) -> None:
        bar = self._bars.get(node)
        if bar is None:
            title = printable(self._titles.get(node, node))
            bar = tqdm(
                total=total, desc=title, file=self._stream, leave=False, dynamic_ncols=True, disable=None
            )
            self._bars[node] = bar
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.refresh()

    def _line(self, node: str, text: str) -> None:
        bar = self._bars.pop(node, None)
        if bar is not None:
            bar.close()
        self._write(printable(f"{self._titles.get(node, node)} ({node}): {text}"))

    def _close_bars(self) -> None:
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()

    def _write(self, line: str) -> None:
        with tqdm.external_write_mode(file=self._stream):
            print(line, file=self._stream, flush=True)


def json_report(folders: Folders, power: Power | None = None) -> Report:
    """Prints one JSON object a line on standard output; `event` says which kind it is.

    Previews are left out; `files` holds the whole paths of what a node saved. With a power, the last event has
    energy_wh and co2_g.
    """
    return lambda event: print_json(_snake(type(event).__name__), **_fields(event, folders, power))


def print_json(event: str, **fields: object) -> None:
    """One line of what --json prints."""
    print(json.dumps({"event": event, **fields}, default=str), flush=True)


def _fields(event: Event, folders: Folders, power: Power | None) -> dict[str, Any]:
    fields = {
        field.name: getattr(event, field.name)
        for field in dataclasses.fields(event)
        if field.name not in ("preview", "error")
    }
    if isinstance(event, NodeFailed):
        fields["error"] = dataclasses.asdict(event.error)
    if isinstance(event, NodeFinished | NodeCached) and event.ui:
        fields["files"] = [str(path) for path in _paths(event.ui, folders)]
    if isinstance(event, RunFinished) and power is not None:
        fields |= {"energy_wh": power.energy(event.seconds), "co2_g": power.emitted(event.seconds)}
    return fields


def report_nothing(event: Event) -> None:
    """For --quiet."""


def saved_paths(result: RunResult, folders: Folders) -> list[Path]:
    """Every file that a run's nodes say they saved, in the order of the nodes."""
    return [path for ui in result.ui.values() for path in _paths(ui, folders)]


def _paths(ui: Mapping[str, Any], folders: Folders) -> list[Path]:
    return [
        folders.inside(entry["type"], "/".join(filter(None, (entry["subfolder"], entry["filename"]))))
        for entries in ui.values()
        for entry in entries
        if isinstance(entry, Mapping) and {"filename", "subfolder", "type"} <= entry.keys()
    ]


def printable(text: str) -> str:
    """`text` without what would steer a terminal: workflows come from anywhere, and titles may hold any letter."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
