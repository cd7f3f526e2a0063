"""The parent's side of a subject: starts its process, asks it for one thing at a time, and ends it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class SubjectFailed(RuntimeError):
    """A subject could not do what it was asked; the message is its own last words."""


@dataclass(frozen=True)
class Answer:
    """What one request cost and gave.

    seconds: by the wall clock, in the child. processor_seconds: of all its threads. memory: bytes by name (see
    memory.py), peaks since they were last reset. result: what the subject itself has to say.
    """

    seconds: float
    processor_seconds: float
    memory: Mapping[str, int]
    result: Mapping[str, Any] = field(default_factory=dict)


def child_environment() -> dict[str, str]:
    """Of every process that is started: modules are found in the project, and nothing is looked for on the network."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}


class Worker:
    """A subject in a process of its own, where it stays warm from one request to the next. Close it, or use `with`."""

    def __init__(self, python: Path, module: str, settings: Mapping[str, Any]) -> None:
        """Start the process and have `module`'s Subject made of `settings`. Raises SubjectFailed."""
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.child", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=child_environment(),
        )
        try:
            self.loaded = self.ask("load", **settings)
        except BaseException:
            self.close()
            raise

    def ask(self, action: str, **arguments: Any) -> Answer:
        """Have the subject do something, and wait for it. Raises SubjectFailed when it can't."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": action, "with": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SubjectFailed(f"the process ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SubjectFailed(answer["error"])
        return Answer(**answer)

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
