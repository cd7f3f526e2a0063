"""Whole processes from start to end: seconds of wall clock and processor, and memory at the peak."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import wait4

from benchmarks.memory import PeakMemory
from benchmarks.worker import ROOT, SubjectFailed, child_environment

_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)")


@dataclass(frozen=True)
class Ran:
    """What a process cost. errors: what it wrote to standard error."""

    seconds: float
    processor_seconds: float
    memory: Mapping[str, int]
    errors: str


def run_process(command: Sequence[object], *, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a command to its end. Raises SubjectFailed, with its last words, when it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**child_environment(), **(environment or {})},
            cwd=ROOT,
        )
        with PeakMemory(process.pid) as memory:
            _, status, usage = wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            peaks = memory.peaks()
        process.returncode = status
        errors.seek(0)
        words = errors.read()
    if status:
        raise SubjectFailed((words.strip().splitlines() or [f"status {status}"])[-1])
    return Ran(seconds, usage.ru_utime + usage.ru_stime, peaks, words)


def import_seconds(errors: str) -> tuple[float, list[tuple[str, float]]]:
    """From what `python -X importtime` wrote: seconds of all imports, and of each top-level package, the dearest first.

    A package's seconds are those of its own modules alone, not of what they import in turn.
    """
    packages: dict[str, float] = {}
    for match in _IMPORT_LINE.finditer(errors):
        package = match[4].partition(".")[0]
        packages[package] = packages.get(package, 0.0) + int(match[1]) / 1e6
    return sum(packages.values()), sorted(packages.items(), key=lambda item: -item[1])
