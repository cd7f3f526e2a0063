"""What stands for a file's content in a cache key."""

import hashlib
from pathlib import Path

from diffusion.files.stamp import FileStamp


def file_stamp(path: Path) -> str:
    """A large file's identity without reading it: its path, and what changes when it is written to or replaced."""
    return f"{path}: {FileStamp.of(path)}"


def folder_stamp(path: Path) -> str:
    """The stamps of all files below a folder."""
    return "\n".join(file_stamp(file) for file in sorted(path.rglob("*")) if file.is_file())


def content_stamp(path: Path) -> str:
    """A small file's content, hashed: the same picture under another name or date is the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
