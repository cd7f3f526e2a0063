"""When memory runs out: what counts as that, and the one policy of what is tried before it is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from diffusion.memory.sizes import readable

Result = TypeVar("Result")

_SAID_SO = re.compile(
    r"not enough memory|can't allocate memory|cannot allocate memory|out of memory", re.IGNORECASE
)
_WANTED = re.compile(r"allocate ([\d.]+) ?(bytes|[KMGT]i?B)")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class NotEnoughMemory(MemoryError):
    """There is too little memory, whatever was tried. The message names sizes and what to do."""


def is_shortage(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, in any of the ways in which it is said."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_SAID_SO.search(str(error)))


def with_relief(
    step: Callable[[], Result],
    *,
    relieve: Callable[[], None],
    smaller: Sequence[Callable[[], Result]] = (),
    situation: Callable[[], str],
) -> Result:
    """The result of `step`; when memory runs out, of `step` after `relieve`, and then of each of `smaller` in turn.

    situation: says what is held and free, for the error when nothing helps. Raises NotEnoughMemory then, and at once
    whatever else a step raises.
    """
    said = ""
    for number, attempt in enumerate((step, step, *smaller)):
        if number:
            relieve()
        try:
            return attempt()
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            said = _reason(error)
        # Only here, outside the handler, are the traceback and the tensors in its frames gone.
    raise NotEnoughMemory(f"{said} {situation()}")


def _reason(error: BaseException) -> str:
    if isinstance(error, NotEnoughMemory):
        return str(error)
    found = _WANTED.search(str(error))
    if not found:
        return "There is not enough memory."
    wanted = float(found[1]) * _UNITS.get(found[2], 1)
    return f"There is not enough memory: {readable(wanted)} more were wanted at once."
