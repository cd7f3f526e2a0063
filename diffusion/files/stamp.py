"""Which file this is, and which state of it: told without reading it."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class FileStamp:
    """What changes when a file is replaced or written to. Equal stamps stand for equal content.

    A program that writes in place, keeps the size and puts back the time goes unnoticed. mtime_ns: of the last
    change, in nanoseconds since 1970.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: os.PathLike[str] | int) -> FileStamp:
        """The stamp of a path, or of an open file by its descriptor. Raises OSError when there is none."""
        status = os.stat(file)
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
