"""The mathematics of LoRA: low-rank factors, and the weight patch that adds their product to a network's weights."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """A trained change to one weight, kept in the form in which its file has it. Immutable."""

    @property
    def name(self) -> str:
        """The keys of its tensors in the file, without their suffixes."""
        ...

    @property
    def scale(self) -> float:
        """What the product of its tensors is multiplied by at strength 1."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the change, for messages."""
        ...

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a weight of this shape can be changed."""
        ...

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        """`weight`, float32, with `strength` times the change; same shape, same device."""
        ...


@dataclass(frozen=True, eq=False)
class LowRank:
    """A change to one weight, W + strength * scale * up @ down (Hu et al. 2021, section 4.1), kept as its factors.

    name: the keys of its factors in the file, without their suffixes. scale: alpha / rank.
    down: [R, I] or [R, I, kh, kw]; up: [O, R] or [O, R, 1, 1]; any floating dtype.
    mid: [R, R, kh, kw], between a 1x1 down and the up, when the convolution's kernel is factored out too
    (LoCon's CP form, Yeh et al. 2023, appendix on convolutions).
    """

    name: str
    down: Tensor
    up: Tensor
    mid: Tensor | None = None
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the change: [O, I] or [O, I, kh, kw]."""
        kernel = self.down.shape[2:] if self.mid is None else self.mid.shape[2:]
        return (self.up.shape[0], self.down.shape[1], *kernel)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a weight of this shape can be changed. A linear layer and a 1x1 convolution are the same thing."""
        return same_shape(self.shape, shape)

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        """`weight`, float32, with `strength` times the change; same shape, same device."""
        up = self.up.to(weight.device, torch.float32).flatten(1)  # [O, R]
        down = self.down.to(weight.device, torch.float32).flatten(1)  # [R, I*kh*kw]
        if self.mid is not None:
            mid = self.mid.to(weight.device, torch.float32)
            down = torch.einsum("rskl,si->rikl", mid, down).flatten(1)
        changed = torch.addmm(weight.flatten(1), up, down, alpha=strength * self.scale)
        return changed.reshape(weight.shape)


@dataclass(frozen=True, eq=False)
class LoraPatch:
    """A LoRA upon one network: a WeightPatch. factors: by the canonical key of the weight they change.

    source: what stands for the file that they came from.
    """

    factors: Mapping[str, Change]
    strength: float
    source: Hashable

    @cached_property
    def keys(self) -> frozenset[str]:
        """The canonical keys it changes."""
        return frozenset(self.factors)

    @property
    def identity(self) -> Hashable:
        """Of two nodes that load the same file at the same strength, the same."""
        return (self.source, self.strength)

    def apply(self, key: str, weight: Tensor) -> Tensor:
        """The changed weight, float32; `weight` is not written to."""
        return self.factors[key].added_to(weight, self.strength)


def same_shape(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes are the same when a matrix and a 1x1 kernel count as the same thing."""
    return _without_unit_kernel(one) == _without_unit_kernel(other)


def _without_unit_kernel(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[:2]) if all(size == 1 for size in shape[2:]) else tuple(shape)
