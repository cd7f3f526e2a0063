"""Where nodes are attacked: runs one with the values given, within limits, and judges what came of it."""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.runtime import Runtime
from diffusion.types import Latent
from graph import Context, Executor, Folders, Link, Node, Services, Workflow, WorkflowError, node
from graph.events import NodeError, RunResult
from graph.spec import spec_of
from nodes import REGISTRY
from tests.nodes.attack.verdicts import about_error

SECONDS = 100
"""Of computing, for all attacks on one node, each told to stop after PATIENCE. What goes on longer is stuck."""
PATIENCE = 0.1
MEMORY = 5 << 30
"""How much may be asked for beyond what the process has; the largest picture allowed takes 3.2 GB."""


@dataclass(frozen=True)
class Table:
    """The values that stand for the outputs of other nodes."""

    values: Mapping[str, Any]


class Deadline:
    """Asks a run to stop, as a person does who has waited long enough."""

    def __init__(self) -> None:
        self._end = time.process_time() + PATIENCE

    def is_set(self) -> bool:
        return time.process_time() > self._end


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Whoever takes more time or memory than a node may is stopped with an error."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it took longer than {SECONDS} seconds of computing")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, late)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def run(class_type: str, constants: Mapping[str, Any], linked: Mapping[str, Any], folders: Folders) -> Any:
    """What a run of one node gives: its RunResult, or the WorkflowError that kept it from starting.

    linked: values that come over a link, as other nodes would give them.
    """
    nodes = {f"given-{name}": Node("Given", {"name": name}) for name in linked}
    links = {name: Link(f"given-{name}") for name in linked}
    nodes["n"] = Node(class_type, {**constants, **links})
    services = Services()
    services.put(Table, Table(linked))
    services.put(Runtime, Runtime())
    executor = Executor(REGISTRY.with_nodes([spec_of(given)]), folders=folders, services=services)
    try:
        return executor.run(Workflow(nodes), targets=["n"], cancel=Deadline())
    except WorkflowError as refused:
        return refused


def judged(class_type: str, outcome: RunResult | WorkflowError, linked: Mapping[str, Any]) -> str | None:
    """What is wrong with how a node took an attack; None if nothing is.

    What a node only hands on, it need not look at: whoever computes with it does.
    """
    if isinstance(outcome, WorkflowError):
        unnamed = [fault.message for fault in outcome.faults if class_type not in fault.message]
        return f"a fault does not name the node: {unnamed}" if unnamed else None
    for error in outcome.errors:
        wrong = _about(class_type, error)
        if wrong:
            return wrong
    if outcome.status != "success":
        return None
    handed_on = {id(tensor) for value in linked.values() for tensor in tensors(value)}
    for value in outcome.values["n"]:
        wrong = wrong_value(value, handed_on)
        if wrong:
            return f"it gave {wrong}"
    return None


def _about(class_type: str, error: NodeError) -> str | None:
    if error.class_type != class_type:
        return f"the error is said to be {error.class_type}'s: {error.message}"
    wrong = about_error(error)
    return f"{wrong}: {error.message[:300]} ({error.exception_type})" if wrong else None


def wrong_value(value: Any, handed_on: Container[int]) -> str | None:
    """What is wrong with an output, numbers that are none above all."""
    if isinstance(value, Latent) and value.samples.ndim != 4:
        return f"a latent of the shape {list(value.samples.shape)}"
    if isinstance(value, float) and value != value:
        return "NaN"
    for tensor in tensors(value):
        if id(tensor) in handed_on:
            continue
        # Sigmas of no steps are what a denoise of 0 means.
        if 0 in tensor.shape and tensor.ndim > 1:
            return f"a tensor of the shape {list(tensor.shape)}"
        if not torch.isfinite(tensor).all():
            return "numbers that are NaN or infinite"
    return None


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a value that goes over a link."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value) and type(value).__module__ == "diffusion.types":
        yield from tensors([getattr(value, field.name) for field in fields(value)])


@node("Given")
def given(*, name: str, ctx: Context) -> Any:
    """A value of the table that the run was given."""
    assert ctx.services is not None
    return ctx.service(Table, lambda: Table({})).values[name]
