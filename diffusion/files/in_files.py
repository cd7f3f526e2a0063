"""Values that lie in mapped files, handed out only while those files are as they were when they were opened."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from torch import Tensor

from diffusion.files.mapped_file import MappedFile

Value = TypeVar("Value")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class InFiles(Mapping[str, Value]):
    """Entries whose tensors are views of `files`. Looking one up raises CheckpointError once a file was written to.

    To read a mapped file that has become shorter ends the process, and one that was written to holds other weights.
    So values are looked up when they are about to be read, and not kept.
    """

    entries: Mapping[str, Value]
    files: tuple[MappedFile, ...]

    def check(self) -> None:
        """Raise CheckpointError if one of the files was written to since it was opened."""
        for file in self.files:
            file.check()

    def __getitem__(self, name: str) -> Value:
        value = self.entries[name]
        self.check()
        return value

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class Loaded:
    """What was loaded and is still in use: loading a file again gives the same weights, and so the same networks."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for `key` before, if anything still uses it, else what `make` gives."""
        held: Made | None = self._held.get(key)
        if held is None:
            held = self._held[key] = make()
        return held

    def weights(
        self, part: Hashable, files: tuple[MappedFile, ...], make: Callable[[], Mapping[str, Tensor]]
    ) -> InFiles[Tensor]:
        """This part of these files as it was loaded before, else what `make` gives.

        part: what is taken from the files, and how.
        """
        return self.get((part, *(file.stamp for file in files)), lambda: InFiles(make(), files))
