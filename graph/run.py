"""One run of a workflow: its nodes called as they become ready, and what each call led to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from graph.binding import Bound
from graph.cache import Cache, Entry
from graph.calling import Wanted, call, call_async
from graph.context import Context, Flag, Services
from graph.errors import Cancelled, GraphError, ValueRefused
from graph.events import Event, RunResult, Status
from graph.expansion import ExpansionError, lay_out
from graph.folders import Folders
from graph.keys import Keys, token
from graph.mapping import Items, calls, collect, merge_ui
from graph.registry import Registry
from graph.report import Report
from graph.tasks import Plan, State, Task
from graph.validation import Checked
from graph.values import Link
from graph.work import (
    Part,
    check_output,
    fan_out,
    node_error,
    read_result,
    ready_inputs,
)
from graph.workers import Workers
from graph.workflow import Workflow

MOST_EXPANSIONS = 200_000
"""In one run. Each keeps its nodes until the end."""
_MOST_IO_IN_FLIGHT = 8
_LOOK_UP_SECONDS = 0.05


class Surroundings(NamedTuple):
    """What a run works with and does not change, besides adding to the cache and the services."""

    registry: Registry
    folders: Folders
    cache: Cache
    services: Services
    cancel: Flag | None
    on_event: Callable[[Event], None] | None
    extra: Mapping[str, Any]


class Run:
    """The state of one run; made, executed once, and thrown away.

    The caller's thread calls the computing nodes one after the other, from a stack of those that are ready: what a
    finished node made ready comes next, so values are used soon after they are made, and let go of soon after that.
    IO and async nodes go to the workers as soon as they are ready.
    """

    def __init__(self, workflow: Workflow, checked: Checked, around: Surroundings) -> None:
        self._workflow = workflow
        self._checked = checked
        self._around = around
        self._keys = Keys(partial(self._context, None))
        for node in checked.nodes.values():
            self._keys.add(node)
        self._plan = Plan(checked.nodes, self._keys.by_id, around.cache, checked.targets)
        self._report = Report(around.on_event)
        self._workers: Workers[Task] = Workers()
        self._io_in_flight = 0
        self._expansions = 0
        self._cancelled = False
        self._found, _ = self._plan.want(checked.targets)

    def is_set(self) -> bool:
        """Whether the run is to stop."""
        return self._cancelled or (self._around.cancel is not None and self._around.cancel.is_set())

    def execute(self) -> RunResult:
        """Run everything that the targets need and the cache does not have."""
        began = time.perf_counter()
        plan, report, targets = self._plan, self._report, self._checked.targets
        report.run_started(targets, len(plan.tasks))
        self._tell_cached(self._found)
        with self._workers:
            self._work()
        status: Status = "cancelled" if self._cancelled else "failed" if report.errors else "success"
        values = {target: plan.values[target] for target in targets if target in plan.values}
        return report.run_finished(status, time.perf_counter() - began, values)

    def _work(self) -> None:
        """Give the workers what is theirs, take back what they have done, run what is ready, else wait for them."""
        plan, workers = self._plan, self._workers
        while not self.is_set():
            while plan.beside:
                self._start(plan.beside.popleft())
            if plan.ready and self._io_in_flight <= _MOST_IO_IN_FLIGHT:
                self._start(plan.ready.pop())
                while workers and self._take_back(0):
                    pass
            elif workers:
                self._take_back(_LOOK_UP_SECONDS)
            else:
                return
        self._cancelled = True
        workers.cancel()
        while workers:
            self._take_back(None)

    def _start(self, task: Task) -> None:
        """Go on with a task whose sources are all there."""
        if task.state is State.DEAD:
            return
        if task.parts is not None:
            self._finish(task, task.parts)
            return
        plan, node, spec = self._plan, task.node, task.node.spec
        again = task.inputs is not None
        if not again:
            entry = self._around.cache.get(self._keys.by_id[node.id])
            if entry is not None:
                # A node like it has run since this one was planned.
                self._report.cached(node.id, task.origin, entry.ui)
                plan.done(task, entry.outputs)
                return
            self._report.started(task, self._title(task))
        try:
            task.inputs = ready_inputs(node, plan.values, self._around.folders)
        except ValueRefused as error:
            self._fail(task, error)
            return
        if not again:
            task.count = calls(spec, task.inputs)
        task.state = State.RUNNING
        if spec.is_async:
            self._workers.in_loop(task, self._await(task))
        elif spec.io:
            self._io_in_flight += 1
            self._workers.in_thread(task, partial(self._call, task))
        else:
            try:
                self._call(task)
            except (Exception, SystemExit, Cancelled, Wanted) as error:
                self._stopped(task, error)
            else:
                self._called(task)

    def _call(self, task: Task) -> None:
        spec, inputs = task.node.spec, task.inputs or {}
        began = time.perf_counter()
        try:
            if spec.plain and task.count is None:
                task.results = [spec.function(**inputs)]
            else:
                call(task, self._plan.values, self._context(task))
        finally:
            task.seconds += time.perf_counter() - began

    async def _await(self, task: Task) -> None:
        began = time.perf_counter()
        try:
            await call_async(task, self._plan.values, self._context(task))
        finally:
            task.seconds += time.perf_counter() - began

    def _take_back(self, timeout: float | None) -> bool:
        """Go on with a task that the workers are done with. False if there is none within `timeout` seconds."""
        taken = self._workers.next_done(timeout)
        if taken is None:
            return False
        task, future = taken
        if not task.node.spec.is_async:
            self._io_in_flight -= 1
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._called(task)
        elif not (isinstance(error, CancelledError) and self._cancelled):
            self._stopped(task, error)
        return True

    def _stopped(self, task: Task, error: BaseException) -> None:
        """A call ended early: for a value it wants, for the end of the run, or for a mistake."""
        if isinstance(error, Wanted):
            task.state = State.WAITING
            self._wait_for(task, [error.link.node])
        elif isinstance(error, Cancelled):
            self._cancelled = True
        else:
            self._fail(task, error)

    def _called(self, task: Task) -> None:
        """All calls of a task have returned."""
        try:
            parts = [read_result(task.node.spec, result) for result in task.results or ()]
            if task.count is None and parts[0].expansion is None:
                self._done(task, parts[0].outputs, parts[0].ui)
            elif any(part.expansion for part in parts):
                self._expand(task, parts)
            else:
                self._finish(task, parts)
        except GraphError as error:
            self._fail(task, error)

    def _expand(self, task: Task, parts: list[Part]) -> None:
        """Run the sub-graphs that a node returned; its outputs are theirs. Raises ExpansionError."""
        plan, node, around = self._plan, task.node, self._around
        outputs: list[tuple[Any, ...]] = []
        wanted: list[str] = []
        added: list[Bound] = []
        for index, part in enumerate(parts):
            outputs.append(part.outputs)
            if part.expansion is not None:
                self._expansions += 1
                if self._expansions > MOST_EXPANSIONS:
                    raise ExpansionError(
                        f"this run has had {MOST_EXPANSIONS} rounds of loops: it would hardly end. Run fewer, or "
                        "keep lists out of the values that a loop carries, since each item begins a loop of its own"
                    )
                prefix = f"{task.origin}/{self._expansions}/"
                key = token(self._keys.by_id[node.id], index)
                laid = lay_out(
                    part.expansion, node.spec, prefix, key, registry=around.registry, folders=around.folders
                )
                for inner, tokens in laid.nodes:
                    self._keys.add(inner, tokens)
                    plan.add(inner, task.origin)
                    added.append(inner)
                outputs[-1] = laid.outputs
                wanted.extend(inner.id for inner, _ in laid.nodes if inner.spec.output)
        sources = [output.node for given in outputs for output in given if type(output) is Link]
        task.parts = [Part(given, None, part.ui) for part, given in zip(parts, outputs, strict=True)]
        task.state, task.expanded = State.WAITING, time.perf_counter()
        self._want([*wanted, *sources])
        plan.hand_over(task, added, sources)
        self._wait_for(task, [*wanted, *sources])

    def _finish(self, task: Task, parts: list[Part]) -> None:
        """All that a task's calls returned is there."""
        try:
            resolved = [self._resolved(task, part) for part in parts]
        except ValueRefused as error:
            self._fail(task, error)
            return
        outputs = resolved[0] if task.count is None else collect(task.node.spec, resolved)
        shown = [part.ui for part in parts if part.ui is not None]
        self._done(task, outputs, merge_ui(shown) if shown else None)

    def _done(self, task: Task, outputs: tuple[Any, ...], ui: Mapping[str, Any] | None) -> None:
        node_id = task.node.id
        self._report.finished(task, ui)
        # What an editor shows of a node's sub-graph, it shows again when the node itself comes from the cache.
        everything = self._report.ui.get(node_id) if task.origin == node_id else ui
        within = time.perf_counter() - task.expanded if task.expanded else 0.0
        self._around.cache.put(self._keys.by_id[node_id], outputs, everything, task.seconds + within)
        self._plan.done(task, outputs)

    def _resolved(self, task: Task, part: Part) -> tuple[Any, ...]:
        """The outputs of one call, those of a sub-graph taken from its nodes. Raises ValueRefused."""
        values = self._plan.values
        outputs: list[Any] = []
        for output, given in zip(task.node.spec.outputs, part.outputs, strict=True):
            if type(given) is Link:
                value = values[given.node][given.output]
                outputs.append(Items([value]) if output.is_list and type(value) is not Items else value)
            else:
                value = fan_out(output, given)
                check_output(task.node.spec, output, value)
                outputs.append(value)
        return tuple(outputs)

    def _want(self, wanted: Iterable[str]) -> None:
        hits, dead = self._plan.want(wanted)
        for node_id, entry in hits:
            self._report.cached(node_id, self._plan.origin(node_id), entry.ui)
        for task in dead:
            self._bury(task)

    def _wait_for(self, task: Task, wanted: list[str]) -> None:
        self._want(wanted)
        if not self._plan.wait_for(task, dict.fromkeys(wanted)):
            self._bury(task)
        elif not task.waiting:
            self._plan.make_ready(task)

    def _fail(self, task: Task, error: BaseException) -> None:
        told = node_error(task.node, task.origin, self._title(task), error, task.inputs or {})
        self._report.failed(task, told)
        for other in self._plan.dead(task):
            if other is not task:
                self._report.skipped(other)

    def _bury(self, task: Task) -> None:
        for other in self._plan.dead(task):
            self._report.skipped(other)

    def _tell_cached(self, hits: Iterable[tuple[str, Entry]]) -> None:
        """Tell of what was found in the cache, and of all before it, which need not run either."""
        found = dict(hits)
        nodes, tasks = self._checked.nodes, self._plan.tasks
        behind = set(found)
        pending = list(found)
        while pending:
            node = nodes[pending.pop()]
            lazy = node.spec.lazy
            for name, link in node.links.items():
                source = link.node
                if source not in behind and source not in tasks and name not in lazy:
                    behind.add(source)
                    pending.append(source)
        for node_id in nodes if behind else ():
            if node_id in behind:
                entry = found.get(node_id)
                self._report.cached(node_id, node_id, entry.ui if entry is not None else None)

    def _title(self, task: Task) -> str:
        node = self._workflow.nodes.get(task.node.id)
        return (node.title if node else None) or task.node.spec.title

    @cached_property
    def _json(self) -> Mapping[str, Any]:
        return self._workflow.to_json()

    def _context(self, task: Task | None) -> Context:
        around = self._around
        context = Context("", around.folders, self._json, around.extra, around.services, cancel=self)
        if task is None:
            return context
        return replace(context, node_id=task.node.id, on_progress=partial(self._report.progressed, task))
