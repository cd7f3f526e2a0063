"""The cache of results, bounded in bytes. What is cheap to make again, large and long unused goes first."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Mapping
from itertools import count
from typing import Any

from graph.sizes import measure

_DEFAULT_BYTES = 2 << 30
_ENTRY_BYTES = 512
_LEAST_SECONDS = 1e-6


class Entry:
    """A node's outputs, what an editor shows of it, and what decides how long both are kept."""

    __slots__ = ("buffers", "nbytes", "outputs", "priority", "ui", "used", "value_of_keeping")

    def __init__(self, outputs: tuple[Any, ...], ui: Mapping[str, Any] | None) -> None:
        self.outputs = outputs
        self.ui = ui
        self.buffers: dict[int, int] | None = None
        self.nbytes = 0
        self.value_of_keeping = 0.0
        self.priority = 0.0
        self.used = 0


class Cache:
    """Results by content key; safe to share between threads.

    The policy is GreedyDual-Size (Cao and Irani, 1997): an entry's priority is the seconds it saves per byte, plus the
    clock; the lowest goes first, of equal ones that used longest ago, and the clock moves on to its priority, so what
    is not used ages against what is.
    """

    def __init__(self, max_bytes: int = _DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: dict[bytes, Entry] = {}
        self._heap: list[tuple[float, int, bytes, Entry]] = []
        self._numbers = count()
        self._shared: dict[int, int] = {}
        self._clock = 0.0
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """An estimate of the bytes that all entries hold."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def get(self, key: bytes) -> Entry | None:
        """The entry of this key, which is thereby used; None if there is none."""
        if key not in self._entries:
            return None
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                # Its place in the heap is a lower bound of this, and is put right when it comes to the top.
                self._use(entry)
            return entry

    def put(self, key: bytes, outputs: tuple[Any, ...], ui: Mapping[str, Any] | None, seconds: float) -> None:
        """Keep a result that took so many seconds to make. One larger than the whole cache is not kept.

        Where there is an entry of this key it stays, as equal keys mean equal results.
        """
        entry = Entry(outputs, ui)
        own = _ENTRY_BYTES
        for value in outputs if ui is None else (*outputs, ui):
            nbytes, buffers = measure(value)
            own += nbytes
            if buffers:
                entry.buffers = {**(entry.buffers or {}), **buffers}
        entry.nbytes = own
        total = own + (sum(entry.buffers.values()) if entry.buffers else 0)
        if total > self.max_bytes:
            return
        entry.value_of_keeping = (seconds + _LEAST_SECONDS) / total
        with self._lock:
            if key in self._entries:
                return
            self._remember(key, entry)
            while self._nbytes > self.max_bytes:
                self._evict()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._heap.clear()
            self._shared.clear()
            self._nbytes = 0

    def _remember(self, key: bytes, entry: Entry) -> None:
        self._entries[key] = entry
        self._nbytes += entry.nbytes
        if entry.buffers:
            for identity, nbytes in entry.buffers.items():
                holders = self._shared.get(identity, 0)
                self._shared[identity] = holders + 1
                self._nbytes += 0 if holders else nbytes
        self._use(entry)
        heapq.heappush(self._heap, (entry.priority, entry.used, key, entry))

    def _use(self, entry: Entry) -> None:
        entry.priority = self._clock + entry.value_of_keeping
        entry.used = next(self._numbers)

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self._nbytes -= entry.nbytes
        for identity, nbytes in (entry.buffers or {}).items():
            holders = self._shared[identity] - 1
            if holders:
                self._shared[identity] = holders
            else:
                del self._shared[identity]
                self._nbytes -= nbytes

    def _evict(self) -> None:
        priority, used, key, entry = heapq.heappop(self._heap)
        if self._entries.get(key) is not entry:
            return
        if entry.used > used:
            heapq.heappush(self._heap, (entry.priority, entry.used, key, entry))
            return
        self._clock = priority
        self._forget(key)
