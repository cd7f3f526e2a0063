"""The process of one subject: `python -m benchmarks.child MODULE` makes the module's Subject and does as it is told.

Each line of standard input is a request, {"do": name, "with": {arguments}}; each is answered by one line of standard
output (see worker.Answer), or {"error": message}. "load" comes first and makes the Subject; "reset_memory" begins new
peaks; every other name is a method of the Subject.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.memory import PeakMemory


def serve(module: str, requests: Iterator[str]) -> Iterator[str]:
    """One answer for each request, as lines of JSON."""
    subject: Any = None
    with PeakMemory() as memory:
        for line in requests:
            request = json.loads(line)
            began, processor = time.perf_counter(), time.process_time()
            try:
                result: Any = {}
                if request["do"] == "load":
                    subject = importlib.import_module(module).Subject(**request["with"])
                elif request["do"] == "reset_memory":
                    memory.reset()
                else:
                    result = getattr(subject, request["do"])(**request["with"])
            except Exception as error:  # whatever it is, the parent is to hear of it and can go on
                yield json.dumps({"error": f"{type(error).__name__}: {error}"})
                continue
            yield json.dumps(
                {
                    "seconds": time.perf_counter() - began,
                    "processor_seconds": time.process_time() - processor,
                    "memory": dict(memory.peaks()),
                    "result": result,
                }
            )


def main() -> None:
    """Answers go where standard output went; what libraries print goes to standard error instead."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for answer in serve(sys.argv[1], iter(sys.stdin)):
            answers.write(answer + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
