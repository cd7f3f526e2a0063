"""Which nodes are to run, what each waits for, and how long each value is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from graph.binding import Bound
from graph.cache import Cache, Entry
from graph.work import Part


class State(Enum):
    """Where a task stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


class Task:
    """A node that is to run.

    origin: the workflow's own node that it is part of. waiting: how many sources it still waits for.
    users: the tasks that wait for it. inputs: by name, None before it first starts. count: how many calls they make;
    None for one without a list. results: what its calls returned so far, None before it first starts.
    parts: those results once they are all there, when some of them are sub-graphs that it now waits for, since the
    time `expanded`.
    held: nodes whose values it keeps in memory besides those of its links.
    """

    __slots__ = (
        "count", "expanded", "held", "holds_links", "inputs", "node", "origin",
        "parts", "results", "seconds", "state", "users", "waiting",
    )  # fmt: skip

    def __init__(self, node: Bound, origin: str) -> None:
        self.node = node
        self.origin = origin
        self.state = State.WAITING
        self.waiting = 0
        self.users: list[Task] = []
        self.inputs: dict[str, Any] | None = None
        self.results: list[Any] | None = None
        self.count: int | None = None
        self.parts: list[Part] | None = None
        self.held: Sequence[str] = ()
        self.holds_links = False
        self.seconds = 0.0
        self.expanded = 0.0

    def clear(self) -> None:
        """Let go of what was only needed to call the node."""
        self.inputs = self.results = None


class Plan:
    """All tasks of a run, and the values that are still needed.

    A value is kept while a task that is linked to it is not done, and to the end if it is a target's. A node of a
    sub-graph is forgotten with its value, so a loop does not grow with its rounds.
    `ready` is a stack: what became ready last runs first. `beside` holds the ready IO and async nodes, in order.
    """

    def __init__(
        self, nodes: Mapping[str, Bound], keys: dict[str, bytes], cache: Cache, targets: Iterable[str]
    ) -> None:
        self._nodes = nodes
        self._inner: dict[str, Bound] = {}
        self.values: dict[str, tuple[Any, ...]] = {}
        self.ready: list[Task] = []
        self.beside: deque[Task] = deque()
        self.tasks: dict[str, Task] = {}
        self._origins: dict[str, str] = {}
        self._unasked: set[str] = set()
        self._uses: dict[str, int] = {}
        self._keys = keys
        self._cache = cache
        self._targets = frozenset(targets)

    def add(self, node: Bound, origin: str) -> None:
        """A node of a sub-graph, which may be asked for from now on."""
        self._inner[node.id] = node
        self._origins[node.id] = origin

    def hand_over(self, task: Task, added: Sequence[Bound], sources: Iterable[str]) -> None:
        """A task whose sub-graph of `added` nodes is wanted by now keeps `sources` in place of its own inputs.

        Those nodes that are not wanted yet, but may be when a lazy input is asked for, keep what they are linked to.
        """
        task.held = [*sources]
        for node_id in task.held:
            self.hold(node_id)
        for node in reversed(added):
            if node.id in self.tasks or node.id in self.values:
                continue
            if self._uses.get(node.id):
                self._unasked.add(node.id)
                for link in node.links.values():
                    self.hold(link.node)
            else:
                self._forget(node.id)
        if task.holds_links:
            task.holds_links = False
            self._drop(link.node for link in task.node.links.values())
        task.clear()

    def origin(self, node_id: str) -> str:
        """The workflow's own node that this one is, or is part of."""
        return self._origins.get(node_id, node_id)

    def want(self, wanted: Iterable[str]) -> tuple[list[tuple[str, Entry]], list[Task]]:
        """Make tasks for these nodes and all that they need, except for what is in the cache.

        Returns what was found in the cache, and the new tasks that can never run as a source of theirs has failed.
        """
        hits: list[tuple[str, Entry]] = []
        new: list[Task] = []
        pending = [*wanted][::-1]
        while pending:
            node_id = pending.pop()
            known = self.tasks.get(node_id)
            if node_id in self.values or (known is not None and known.state is not State.DONE):
                continue
            entry = self._cache.get(self._keys[node_id])
            if entry is not None:
                self.values[node_id] = entry.outputs
                hits.append((node_id, entry))
                continue
            node = self._nodes.get(node_id) or self._inner[node_id]
            self.tasks[node_id] = task = Task(node, self.origin(node_id))
            new.append(task)
            lazy = node.spec.lazy
            pending.extend([link.node for name, link in node.links.items() if name not in lazy][::-1])
        dead = [task for task in new if not self._connect(task)]
        for task in reversed(new):
            if not task.waiting:
                self.make_ready(task)
        return hits, dead

    def make_ready(self, task: Task) -> None:
        """The task waits for nothing."""
        if task.node.spec.io or task.node.spec.is_async:
            self.beside.append(task)
        else:
            self.ready.append(task)

    def wait_for(self, task: Task, sources: dict[str, None]) -> bool:
        """Let `task` wait for these nodes, which are wanted already. False if one of them has failed."""
        alive = True
        for source in sources:
            if source not in self.values:
                feeding = self.tasks[source]
                alive = alive and feeding.state is not State.DEAD
                feeding.users.append(task)
                task.waiting += 1
        return alive

    def hold(self, node_id: str) -> None:
        """Keep the value of this node, once it is there, until it is let go."""
        self._uses[node_id] = self._uses.get(node_id, 0) + 1

    def let_go(self, task: Task) -> None:
        """The task needs none of the values it has been keeping."""
        if task.holds_links:
            task.holds_links = False
            self._drop(link.node for link in task.node.links.values())
        if task.held:
            held, task.held = task.held, ()
            self._drop(held)

    def done(self, task: Task, outputs: tuple[Any, ...]) -> None:
        """The task has its outputs; tasks that waited for nothing else are ready."""
        node_id = task.node.id
        task.state = State.DONE
        task.parts = None
        task.clear()
        if self._uses.get(node_id) or node_id in self._targets:
            self.values[node_id] = outputs
        elif node_id in self._origins:
            self._forget(node_id)
        self.let_go(task)
        for user in reversed(task.users):
            user.waiting -= 1
            if not user.waiting and user.state is State.WAITING:
                self.make_ready(user)
        task.users.clear()

    def dead(self, task: Task) -> list[Task]:
        """The task will never have outputs, and neither will what waits for it. Returns all that died now."""
        died: list[Task] = []
        pending = [task]
        while pending:
            current = pending.pop()
            if current.state is not State.DEAD:
                current.state = State.DEAD
                current.parts = None
                current.clear()
                self.let_go(current)
                died.append(current)
                pending.extend(current.users)
                current.users.clear()
        return died

    def _drop(self, node_ids: Iterable[str]) -> None:
        """One use less of each of these nodes' values."""
        pending = [*node_ids]
        while pending:
            node_id = pending.pop()
            left = self._uses[node_id] - 1
            self._uses[node_id] = left
            if not left and node_id not in self._targets:
                had_value = self.values.pop(node_id, None) is not None
                if node_id in self._origins and (had_value or node_id not in self.tasks):
                    pending.extend(self._forget(node_id))

    def _forget(self, node_id: str) -> list[str]:
        """Let nothing stay of a sub-graph's node that nobody will ask for again.

        Returns what it was keeping the values of, as it was never asked for itself.
        """
        del self._origins[node_id]
        node = self._inner.pop(node_id)
        self._uses.pop(node_id, None)
        self.tasks.pop(node_id, None)
        self._keys.pop(node_id, None)
        if node_id not in self._unasked:
            return []
        self._unasked.remove(node_id)
        return [link.node for link in node.links.values()]

    def _connect(self, task: Task) -> bool:
        node_id, lazy, links = task.node.id, task.node.spec.lazy, task.node.links
        task.holds_links = True
        for link in links.values():
            self.hold(link.node)
        if node_id in self._unasked:
            self._unasked.remove(node_id)
            self._drop(link.node for link in links.values())
        return self.wait_for(task, {link.node: None for name, link in links.items() if name not in lazy})
