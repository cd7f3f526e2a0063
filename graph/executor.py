"""Executor: runs workflows, one after the other or side by side, over one cache and one set of services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graph.cache import Cache
from graph.collecting import collection_paused
from graph.context import Flag, Services
from graph.errors import WorkflowError
from graph.events import Event, RunResult
from graph.folders import Folders
from graph.registry import Registry
from graph.run import Run, Surroundings
from graph.validation import check
from graph.workflow import Workflow


class Executor:
    """What lasts from run to run: the nodes, the folders, the cache of results, and the services that nodes share."""

    def __init__(
        self,
        registry: Registry,
        *,
        folders: Folders | None = None,
        cache: Cache | None = None,
        services: Services | None = None,
    ) -> None:
        self.registry = registry
        self.folders = folders if folders is not None else Folders()
        self.cache = cache if cache is not None else Cache()
        self.services = services if services is not None else Services()

    def run(
        self,
        workflow: Workflow,
        *,
        targets: Iterable[str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        cancel: Flag | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Run what the targets need and the cache does not have; the targets are all output nodes if left out.

        A node that fails stops what depends on it and nothing else; the result then says "failed", and which node it
        was. Cancelling lets the node that runs come to its next check, and starts no other. on_event is called in the
        order of events, sometimes from another thread, never from two at once.

        Raises WorkflowError, with every fault, when the workflow cannot run; nothing has been run then.
        """
        around = Surroundings(
            self.registry,
            self.folders,
            self.cache,
            self.services,
            cancel,
            on_event,
            extra if extra is not None else {},
        )
        with collection_paused():
            checked = check(workflow, self.registry, self.folders, targets=targets)
            if checked.blocking:
                raise WorkflowError(checked.blocking)
            prepared = Run(workflow, checked, around)
        return prepared.execute()
