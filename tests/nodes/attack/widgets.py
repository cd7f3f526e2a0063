"""Values for widgets: at the bounds of what is declared, just beyond them, and far from anything that makes sense."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from graph import Folders, Port, Range
from graph.ports import Choice

NAN, INF = float("nan"), float("inf")
NO_NUMBERS: tuple[Any, ...] = (
    None,
    True,
    "",
    "many",
    "nan",
    {},
    [],
    [[1]],
    {"__value__": None},
    "1e999",
    2**70,
)
TEXTS: tuple[Any, ...] = (
    "",
    " ",
    "a" * 100_000,
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\system.ini",
    "a\0b",
    "CON",
    "/dev/zero",
    "/dev/stdin",
    "~root/x",
    "\ud800",
    "\N{SNOWMAN}\u202e\x1b[31m\r\n",
    "{" * 500,
    "(" * 5000,
    "[a:b:" * 300,
    "%date:yyyy%%KSampler.seed%",
    "(a:1e999)",
    "(a:nan)",
    "embedding:../../x",
    "embedding:",
    "0",
    "-1",
    "{0.__class__}",
    "{a.__class__.__mro__}",
    "{a:>999999999999}",
    "10**10**10",
    "(a+)+$",
    ",",
    "nan",
    "1e400",
    "cpu",
    "meta",
    "cuda:999",
    "*",
    "**/*",
    5,
    1.5,
    True,
    None,
    {},
    [],
    ["a", 0],
    {"__value__": ["a"]},
)
_MOST_CHOICES = 4


def hostile(port: Port, folders: Folders) -> Iterator[Any]:
    """Constants for a widget, none of which need be taken."""
    if port.socket in ("INT", "FLOAT"):
        yield from _numbers(port)
    elif port.socket == "COMBO" and isinstance(port.rule, Choice):
        choices = port.rule.choices(folders)
        yield from choices[:_MOST_CHOICES] + choices[-1:]
        yield from ("", "no such choice", "a" * 100_000, "../x", 3, None, [], {}, choices[0].upper() + " ")
    elif port.socket == "BOOLEAN":
        yield from (True, False, "true", "yes", 2, NAN, None, [], {})
    elif port.socket in ("STRING", "COMBO"):
        yield from TEXTS
    else:
        yield from (*TEXTS, NAN, INF, -INF, 2**70, 10**400, 1e308, -5e-324)


def _numbers(port: Port) -> Iterator[Any]:
    yield from NO_NUMBERS
    yield from (NAN, INF, -INF, 10**400, 0, -1)
    if isinstance(port.rule, Range):
        low, high = port.rule.low, port.rule.high
        if port.socket == "INT":
            yield from (int(low), int(low) - 1, int(high), int(high) + 1, 0.5)
        else:
            yield from (
                low,
                high,
                math.nextafter(low, -INF),
                math.nextafter(high, INF),
                5e-324,
                (low + high) / 2,
            )
    else:
        yield from (2**63, -(2**63), 1e308, -1e308, 5e-324)


def at_most(port: Port) -> Any:
    """The largest number that the port declares; None for a port without one."""
    if port.socket not in ("INT", "FLOAT") or type(port.rule) is not Range:
        return None
    return int(port.rule.high) if port.socket == "INT" else port.rule.high


def at_least(port: Port) -> Any:
    """The smallest number that the port declares; None for a port without one."""
    if port.socket not in ("INT", "FLOAT") or type(port.rule) is not Range:
        return None
    return int(port.rule.low) if port.socket == "INT" else port.rule.low
