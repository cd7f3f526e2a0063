"""How much memory a process takes at its peak, as Linux tells it: resident, and the private part of that.

Resident (VmHWM) counts pages of mapped files too, which the system takes back whenever it needs them; private
(RssAnon) counts only what can't be given back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

INTERVAL = 0.02
"""Seconds between two looks at the private memory, whose peak the system does not keep."""

_NAMES = {"VmHWM": "resident", "RssAnon": "private", "VmRSS": "resident now"}


def read_status(pid: int | str = "self") -> dict[str, int]:
    """Bytes by name: resident (the peak so far), private and "resident now". Empty where the system has no /proc."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    fields = (line.split() for line in text.splitlines())
    return {_NAMES[first[:-1]]: int(rest[0]) * 1024 for first, *rest in fields if first[:-1] in _NAMES}


class PeakMemory:
    """Watches a process from a thread, inside the `with` block. It may end while it is watched."""

    def __init__(self, pid: int | str = "self") -> None:
        self._pid = pid
        self._peaks: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def peaks(self) -> Mapping[str, int]:
        """Bytes by name (resident, private): the most seen since the last reset."""
        self._look()
        return {name: self._peaks[name] for name in ("resident", "private") if name in self._peaks}

    def reset(self) -> None:
        """Forget the peaks so far; they begin again at what is used now."""
        clear = Path(f"/proc/{self._pid}/clear_refs")
        if clear.exists():
            clear.write_text("5")  # resets VmHWM, see proc(5)
        self._peaks = {}

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        for name, value in read_status(self._pid).items():
            self._peaks[name] = max(value, self._peaks.get(name, 0))

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
