"""What may change a network's weights without copying them: patches, applied when the module is made."""

from collections.abc import Hashable, Sequence
from typing import Protocol

from torch import Tensor


class WeightPatch(Protocol):
    """A change to some of a network's weights. Immutable."""

    @property
    def keys(self) -> frozenset[str]:
        """The canonical keys it changes."""
        ...

    @property
    def identity(self) -> Hashable:
        """What stands for its effect: patches of equal identities change the same network's weights equally."""
        ...

    def apply(self, key: str, weight: Tensor) -> Tensor:
        """The changed weight, float32, same shape. `weight` is float32 and is not written to."""
        ...


def touching(key: str, patches: Sequence[WeightPatch]) -> tuple[WeightPatch, ...]:
    """Those of `patches` that change the weight of this key, in order."""
    return tuple(patch for patch in patches if key in patch.keys)


def patched_weight(key: str, weight: Tensor, patches: Sequence[WeightPatch]) -> Tensor:
    """`weight` after every patch that names `key`, in order; the very same tensor when none does."""
    changed = weight
    for patch in touching(key, patches):
        changed = patch.apply(key, changed.float())
    return changed
