"""How much memory this machine has and this process holds, as the operating system says."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_SHARE = 0.5
"""Of the memory that is there, for networks kept ready; the rest is for pictures, activations and other programs."""
_FALLBACK = 8 << 30
_PROCESS = 400 << 20
"""What a process with torch in it holds before any weights, where the system does not say."""


def default_budget(device: torch.device) -> int:
    """The bytes of networks to keep ready on `device`: a share of what is free of it now, or a plain guess."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _SHARE)
    available = available_bytes()
    return _FALLBACK if available is None else int(available * _SHARE)


def available_bytes(meminfo: Path = _MEMINFO, limits: Iterable[Path] = _CGROUP_LIMITS) -> int | None:
    """The main memory that this process could have: what is free, within its container's limit; None if unknown."""
    free = _field(meminfo, "MemAvailable:")
    limit = min((_number(path) for path in limits), default=math.inf)
    known = [amount for amount in (free, limit) if amount is not None and math.isfinite(amount)]
    return int(min(known)) if known else None


def private_bytes() -> int:
    """The memory that this process holds for itself alone: mapped files do not count."""
    held = _field(_STATUS, "RssAnon:")
    return _PROCESS if held is None else held


def _field(path: Path, name: str) -> int | None:
    """Bytes from a line such as `RssAnon:  123 kB`."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)


def _number(path: Path) -> float:
    """A limit in bytes; infinite where there is none."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return math.inf
