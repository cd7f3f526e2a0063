"""What a run tells as it goes, what it ends with, and the error of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["success", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class NodeError:
    """A node that failed: where, why, and with what.

    origin: the workflow's own node, when `node` is part of a sub-graph that it returned. inputs: short forms by name.
    where: "folder/file.py:line" of the innermost frame in the node function's own file; empty if it was not called.
    """

    node: str
    origin: str
    class_type: str
    title: str
    message: str
    exception_type: str
    where: str = ""
    traceback: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run begins. nodes: how many will run, as far as is known: lazy inputs and sub-graphs come on top."""

    targets: tuple[str, ...]
    nodes: int


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node begins. origin: the workflow's own node, when this one is part of a sub-graph that it returned."""

    node: str
    origin: str
    class_type: str
    title: str


@dataclass(frozen=True, slots=True)
class NodeCached:
    """A node that need not run. ui: what an editor shows of it, if it is among the nodes the run starts from."""

    node: str
    origin: str
    ui: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """A node says that `done` of `total` steps are behind; preview is whatever it has to show by now."""

    node: str
    origin: str
    done: int
    total: int
    preview: object | None = None


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node has run. ui: what an editor shows of it."""

    node: str
    origin: str
    seconds: float
    ui: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NodeFailed:
    """A node has failed. What depends on it does not run; everything else does."""

    node: str
    origin: str
    error: NodeError


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over; the last event."""

    status: Status
    seconds: float


Event = RunStarted | NodeStarted | NodeCached | NodeProgress | NodeFinished | NodeFailed | RunFinished


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    values: the outputs of the targets that were reached, by node id; an output that is a fanned-out list is an Items.
    ui: what editors show, by the id of the workflow's node. seconds: how long each node ran that did.
    cached: nodes that need not run. skipped: nodes that depend on a failed one.
    """

    status: Status
    seconds: float
    values: Mapping[str, tuple[Any, ...]]
    ui: Mapping[str, Mapping[str, Any]]
    errors: tuple[NodeError, ...]
    timings: Mapping[str, float]
    cached: tuple[str, ...]
    skipped: tuple[str, ...]
