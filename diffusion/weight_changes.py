"""Weights multiplied by numbers, as a patch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from diffusion.model import Clip, Model
from diffusion.types import Weights

_WEIGHT_OR_BIAS = ("weight", "bias")


@dataclass(frozen=True, eq=False)
class Multiplied:
    """A patch: weights times a number each. factors: by key."""

    factors: Mapping[str, float]

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(self.factors)

    @property
    def identity(self) -> Hashable:
        return (type(self).__name__, frozenset(self.factors.items()))

    def apply(self, key: str, weight: Tensor) -> Tensor:
        return weight * self.factors[key]


def unet_attention_multiplied(model: Model, layer: str, factors: Mapping[str, float]) -> Model:
    """The model with every attention's projections multiplied.

    layer: attn1 for attention of the picture to itself, attn2 for attention to the prompt. factors: by the projection,
    to_q, to_k, to_v and to_out.0. Where there is a bias, it is multiplied too.
    """
    named = {f".{layer}.{projection}": factor for projection, factor in factors.items()}
    changed = _matching(model.weights, named)
    return model.patched(Multiplied(changed)) if changed else model


def text_attention_multiplied(clip: Clip, factors: Mapping[str, float]) -> Clip:
    """The text encoder likewise. factors: by the projection, q_proj, k_proj, v_proj and out_proj."""
    named = {f".self_attn.{projection}": factor for projection, factor in factors.items()}
    changed = _matching(clip.weights, named)
    return clip.patched(Multiplied(changed)) if changed else clip


def _matching(weights: Weights, factors: Mapping[str, float]) -> dict[str, float]:
    """The factor of every weight and bias whose module's name ends as one in `factors` does; factors of 1 left out."""
    return {
        key: factor
        for key in weights
        for module, factor in factors.items()
        if factor != 1 and key.endswith(tuple(f"{module}.{parameter}" for parameter in _WEIGHT_OR_BIAS))
    }
