"""What a run of the benchmarks is to do, as the command line says it."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


def default_cache() -> Path:
    """Where converted networks and other files are kept from run to run; gigabytes, and outside the project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft-benchmarks"


@dataclass(frozen=True)
class Options:
    """The settings of a run.

    checkpoint: the full-size one; None means the seeded one of tests/full_size.py, made when it is not there. tiny: the
    small one, for pictures that show something and for what takes no time. sizes: of square pictures, in pixels.
    subjects: only these programs, all when empty. peer_url, peer_pid: a server that speaks the queue API, and its
    process, whose memory can be read when it runs here.
    """

    steps: int = 20
    rounds: int = 3
    sizes: tuple[int, ...] = (256, 512)
    quick: bool = False
    checkpoint: Path | None = None
    tiny: Path = Path(__file__).resolve().parent.parent / "models" / "checkpoints" / "weft-tiny.safetensors"
    subjects: tuple[str, ...] = ()
    python: Path = Path(sys.executable)
    peers_python: Path = Path(sys.executable)
    peer_url: str | None = None
    peer_pid: int | None = None
    cache: Path = field(default_factory=default_cache)
    output: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "weft-benchmarks")

    def full_size(self) -> Path:
        """The checkpoint that is measured; made first where it is missing (40 s, 4.3 GB)."""
        if self.checkpoint is not None:
            return self.checkpoint
        from tests.full_size import cached_checkpoint

        return cached_checkpoint()
