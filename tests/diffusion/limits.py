"""Memory limits for tests, counted from what the process holds for good rather than from what it happens to."""

import gc

from diffusion.memory import heap
from diffusion.memory.machine import private_bytes


def limit_with_room(nbytes: int) -> int:
    """The memory limit that leaves so many bytes more than are taken.

    What earlier tests have freed goes back to the system first: a runtime within a limit gives it back too, and would
    then have that much more room than was meant.
    """
    gc.collect()
    heap.trim()
    return private_bytes() + nbytes
