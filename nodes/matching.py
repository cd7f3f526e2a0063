"""Runs a regular expression in a process of its own, within limits of time and memory."""

import json
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = 5
"""Of computing. A machine with other things to do may take longer, up to _PATIENCE times as long."""
_PATIENCE = 12
MEMORY = 1 << 30
LONGEST_TEXT = 1_000_000
LONGEST_EXPRESSION = 10_000
_OUT_OF_TIME = -signal.SIGXCPU if hasattr(signal, "SIGXCPU") else None
_CHILD = Path(__file__).with_name("matching_child.py")


def run_expression(
    job: str,
    pattern: str,
    text: str,
    flags: str,
    *,
    group: int = 0,
    replace: str = "",
    count: int = 0,
    seconds: int = SECONDS,
    memory: int = MEMORY,
) -> list[object]:
    """What the child's `job` gives. flags: of the letters i, m, s.

    Raises ValueError when the expression is wrong, when it, the text or the result is too long, and when it takes
    longer than `seconds` or more than `memory` bytes.
    """
    for name, given, longest in (
        ("regular expression", pattern, LONGEST_EXPRESSION),
        ("replacement", replace, LONGEST_EXPRESSION),
        ("text", text, LONGEST_TEXT),
    ):
        if len(given) > longest:
            raise ValueError(f"The {name} has {len(given)} characters; {longest} are the most.")
    asked = json.dumps([job, pattern, text, flags, group, replace, count])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_CHILD), str(memory), str(seconds)],
            input=asked,
            capture_output=True,
            encoding="ascii",
            timeout=seconds * _PATIENCE,
            check=False,
        )
        out_of_time = done.returncode == _OUT_OF_TIME
    except subprocess.TimeoutExpired:
        out_of_time = True
    if out_of_time:
        raise ValueError(
            f"The regular expression {pattern[:80]!r} took longer than {seconds} seconds on this text, and was "
            "stopped. Repetitions within repetitions, such as (a+)+, are the usual cause."
        )
    if done.returncode != 0 or not done.stdout:
        raise ValueError(
            f"The regular expression {pattern[:80]!r} needed more memory than it may have, and was stopped."
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise ValueError(f"The regular expression {pattern[:80]!r}: {answer['error']}.")
    found: list[object] = answer["found"]
    return found
