"""Context: how a node reaches its surroundings. QUIET, the default, has none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from graph.errors import Cancelled
from graph.folders import Folders

T = TypeVar("T")


class Flag(Protocol):
    """What says that a run is to stop: a threading.Event, a multiprocessing.Event, or the like."""

    def is_set(self) -> bool: ...


class Services:
    """The long-lived things that nodes share, one of each type, such as the memory manager of the networks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._instances: dict[type[Any], Any] = {}

    def get(self, kind: type[T], make: Callable[[], T]) -> T:
        """The one instance of `kind`, made by `make` when it is first asked for."""
        with self._lock:
            if kind not in self._instances:
                self._instances[kind] = make()
            return cast(T, self._instances[kind])

    def put(self, kind: type[T], instance: T) -> None:
        """Set the one instance of `kind`, for an environment that made it beforehand."""
        with self._lock:
            self._instances[kind] = instance


def _nobody(done: int, total: int, preview: object | None) -> None:
    """Nobody listens to the progress of a node that is called as a plain function."""


@dataclass(frozen=True, eq=False)
class Context:
    """What a node may ask of the run it is part of.

    workflow: the API form of the workflow being run. extra: what came with it, such as extra_pnginfo.
    """

    node_id: str = ""
    folders: Folders = field(default_factory=Folders)
    workflow: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    services: Services | None = None
    cancel: Flag | None = None
    on_progress: Callable[[int, int, object | None], None] = _nobody

    def progress(self, done: int, total: int, preview: object | None = None) -> None:
        """Say that `done` of `total` steps are behind. Raises Cancelled when the run is to stop."""
        self.on_progress(done, total, preview)
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raise Cancelled when the run is to stop. Call it at least once per step of long work."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled

    def service(self, kind: type[T], make: Callable[[], T]) -> T:
        """The one instance of `kind` in this environment, made when first asked for; a fresh one outside of a run."""
        return make() if self.services is None else self.services.get(kind, make)


QUIET = Context()
