"""Models made of two: weighted sums of their weights, as patches that are computed one weight at a time.

A merge copies nothing. When a network of it is made, each weight of the second model is read, patched and added while
that weight of the first is made, so beside the network no more than one weight of each is in memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from diffusion.files.in_files import InFiles
from diffusion.files.pages import FilePages
from diffusion.model import Clip, Model
from diffusion.patches import WeightPatch, patched_weight
from diffusion.types import Weights

Part = TypeVar("Part", Model, Clip)


class Shares(NamedTuple):
    """How much of each of two weights is in their sum."""

    first: float
    second: float

    @classmethod
    def mixed(cls, ratio: float) -> Shares:
        """`ratio` of the first and the rest of the second: 1 is the first alone."""
        return cls(ratio, 1.0 - ratio)


@dataclass(frozen=True, eq=False)
class Sum:
    """A patch: each weight times its share, plus another model's weight times its own.

    shares: by key. other, patches: the other model's. A kernel of the other that takes fewer channels, as that of a
    model beside an inpainting model, is added to as many; the rest stays as it is.
    """

    shares: Mapping[str, Shares]
    other: Weights
    patches: tuple[WeightPatch, ...]

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(self.shares)

    @property
    def identity(self) -> Hashable:
        # The other's weights are kept by this patch, so that their identity is theirs alone meanwhile.
        patches = tuple(patch.identity for patch in self.patches)
        return (type(self).__name__, frozenset(self.shares.items()), id(self.other), patches)

    def apply(self, key: str, weight: Tensor) -> Tensor:
        share, source = self.shares[key], self.other[key]
        second = patched_weight(key, source.to(weight.device), self.patches).float()
        if second.shape == weight.shape:
            result = torch.add(weight * share.first, second, alpha=share.second)
        else:
            channels = second.shape[1]
            known = torch.add(weight[:, :channels] * share.first, second, alpha=share.second)
            result = torch.cat([known, weight[:, channels:]], dim=1)
        if self._file_pages is not None:
            self._file_pages.drop(source)
        return result

    @cached_property
    def _file_pages(self) -> FilePages | None:
        """Where the other's weights are mapped, to let go of them once they are added."""
        return FilePages.now() if isinstance(self.other, InFiles) else None


def merged_models(first: Model, second: Model, shares: Mapping[str, Shares]) -> Model:
    """The first model with weights that are sums of both, and all else its own. shares: by key; others stay.

    Raises ValueError when the models are of different sizes.
    """
    same_inputs = replace(second.config, in_channels=first.config.in_channels)
    _check_same_kind("models", first.config, same_inputs)
    if second.config.in_channels > first.config.in_channels:
        raise ValueError(
            f"The second model takes {second.config.in_channels} channels and the first {first.config.in_channels}: "
            "swap the two, so that the inpainting model comes first."
        )
    return _with_sum(first, second, shares)


def merged_text_encoders(first: Clip, second: Clip, shares: Mapping[str, Shares]) -> Clip:
    """The first text encoder likewise."""
    _check_same_kind("text encoders", first.config, second.config)
    return _with_sum(first, second, shares)


def all_weights(part: Model | Clip, share: Shares) -> dict[str, Shares]:
    """The same shares for every weight."""
    return dict.fromkeys(part.weights, share)


def weights_by_prefix(part: Model | Clip, ratios: Mapping[str, float], otherwise: float) -> dict[str, Shares]:
    """For every weight the ratio of the longest prefix that its key begins with; `otherwise` where it has none."""
    longest_first = sorted(ratios, key=len, reverse=True)
    return {
        key: Shares.mixed(
            next((ratios[prefix] for prefix in longest_first if key.startswith(prefix)), otherwise)
        )
        for key in part.weights
    }


def _with_sum(first: Part, second: Part, shares: Mapping[str, Shares]) -> Part:
    # What stays wholly as it is needs no patch, and shares its layers with the first model's own network.
    changed = {key: share for key, share in shares.items() if share != Shares(1.0, 0.0)}
    return first.patched(Sum(changed, second.weights, second.patches)) if changed else first


def _check_same_kind(what: str, first: object, second: object) -> None:
    if first != second:
        raise ValueError(
            f"These {what} are of different sizes, so that their weights cannot be added: {first} and {second}. "
            "Merge two of one kind."
        )
