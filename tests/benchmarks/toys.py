"""A subject that costs nothing, for tests of the machinery around subjects."""

import os
from collections.abc import Mapping
from typing import Any


class Subject:
    """Remembers what it was told."""

    def __init__(self, *, name: str) -> None:
        if not name:
            raise ValueError("a toy needs a name")
        self.name = name

    def picture(self, **task: Any) -> Mapping[str, Any]:
        print("this goes to nobody")
        return {"files": [], "step_seconds": [0.5], "name": self.name, "task": task}

    def fill(self, *, size: int) -> Mapping[str, Any]:
        """Hold so many bytes for as long as this takes."""
        return {"held": len(b"x" * size)}

    def fail(self) -> None:
        raise RuntimeError("as it was told to")

    def die(self) -> None:
        os._exit(3)
