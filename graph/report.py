"""Tells a run's events to whoever listens, and gathers them into its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from graph.events import (
    Event,
    NodeCached,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    RunFinished,
    RunResult,
    RunStarted,
    Status,
)
from graph.mapping import merge_ui
from graph.tasks import Task


class Report:
    """What has happened in a run so far. Nodes in threads may tell too: listeners hear one event at a time."""

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._telling = threading.RLock()
        self.errors: list[NodeError] = []
        self.ui: dict[str, dict[str, Any]] = {}
        self._timings: dict[str, float] = {}
        self._cached: list[str] = []
        self._skipped: list[str] = []

    def run_started(self, targets: tuple[str, ...], nodes: int) -> None:
        self._tell(RunStarted(targets, nodes))

    def started(self, task: Task, title: str) -> None:
        if self._on_event is not None:
            self._tell(NodeStarted(task.node.id, task.origin, task.node.spec.name, title))

    def progressed(self, task: Task, done: int, total: int, preview: object | None) -> None:
        self._tell(NodeProgress(task.node.id, task.origin, done, total, preview))

    def cached(self, node_id: str, origin: str, ui: Mapping[str, Any] | None) -> None:
        self._cached.append(node_id)
        if ui is not None:
            self._show(origin, ui)
        if self._on_event is not None:
            self._tell(NodeCached(node_id, origin, ui))

    def finished(self, task: Task, ui: Mapping[str, Any] | None) -> None:
        self._timings[task.node.id] = task.seconds
        if ui is not None:
            self._show(task.origin, ui)
        if self._on_event is not None:
            self._tell(NodeFinished(task.node.id, task.origin, task.seconds, ui))

    def failed(self, task: Task, error: NodeError) -> None:
        self._timings[task.node.id] = task.seconds
        self.errors.append(error)
        self._tell(NodeFailed(task.node.id, task.origin, error))

    def skipped(self, task: Task) -> None:
        self._skipped.append(task.node.id)

    def run_finished(
        self, status: Status, seconds: float, values: Mapping[str, tuple[Any, ...]]
    ) -> RunResult:
        self._tell(RunFinished(status, seconds))
        return RunResult(
            status=status,
            seconds=seconds,
            values=values,
            ui=self.ui,
            errors=tuple(self.errors),
            timings=self._timings,
            cached=tuple(self._cached),
            skipped=tuple(self._skipped),
        )

    def _show(self, origin: str, ui: Mapping[str, Any]) -> None:
        known = self.ui.get(origin)
        self.ui[origin] = merge_ui([known, ui] if known else [ui])

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            with self._telling:
                self._on_event(event)
