"""Run as a program of its own by nodes.matching: reads a job as JSON, matches a regular expression, writes JSON."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator

_LONGEST_RESULT = 10_000_000


def main() -> None:
    """Answer {"found": [...]}, or {"error": what is wrong with the expression}."""
    _limit(memory=int(sys.argv[1]), seconds=int(sys.argv[2]))
    job, pattern, text, flags, group, replace, count = json.load(sys.stdin)
    try:
        expression = re.compile(pattern, sum({"i": re.I, "m": re.M, "s": re.S}[letter] for letter in flags))
        answer: dict[str, object] = {"found": _run(job, expression, text, group, replace, count)}
    except (re.error, IndexError, OverflowError, RecursionError, ValueError) as error:
        answer = {"error": str(error) or type(error).__name__}
    json.dump(answer, sys.stdout)


def _limit(*, memory: int, seconds: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; the caller's own clock holds there.
        return
    with contextlib.suppress(OSError, ValueError):  # Nor has every Unix.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _run(
    job: str, expression: re.Pattern[str], text: str, group: int, replace: str, count: int
) -> list[object]:
    if job == "match":
        return [expression.search(text) is not None]
    if job == "replace":
        return [_replaced(expression, text, replace, count)]
    matches = expression.finditer(text)
    if job == "First Match":
        return [match.group() for match in _first(matches)]
    if job == "All Matches":
        several = expression.groups > 0
        return _within_limit((match.group(1) or "") if several else match.group() for match in matches)
    chosen = _first(matches) if job == "First Group" else matches
    if group > expression.groups or (job == "All Groups" and not expression.groups):
        return []
    return _within_limit(match.group(group) or "" for match in chosen)


def _first(matches: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    for match in matches:
        yield match
        return


def _within_limit(texts: Iterator[str]) -> list[object]:
    found: list[object] = []
    total = 0
    for text in texts:
        total += len(text) + 1
        if total > _LONGEST_RESULT:
            raise ValueError(f"its result is longer than {_LONGEST_RESULT} characters")
        found.append(text)
    return found


def _replaced(expression: re.Pattern[str], text: str, replace: str, count: int) -> str:
    made = 0

    def expand(match: re.Match[str]) -> str:
        nonlocal made
        # Without a backslash there is nothing to expand, which takes long for a long text.
        part = match.expand(replace) if "\\" in replace else replace
        made += len(part)
        if made > _LONGEST_RESULT:
            raise ValueError(f"its result is longer than {_LONGEST_RESULT} characters")
        return part

    return expression.sub(expand, text, count)


if __name__ == "__main__":
    main()
