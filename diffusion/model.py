"""Model, Clip and Vae: the small immutable values that flow between nodes in place of networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from diffusion.config import TextConfig, TinyVAEConfig, UNetConfig, VAEConfig
from diffusion.patches import WeightPatch
from diffusion.types import Weights

if TYPE_CHECKING:
    from diffusion.networks.attachments import Attachment
    from diffusion.runtime import Runtime
    from diffusion.text.tokenizer import Tokenizer


_HELD_ELSEWHERE = 0
"""What a cache of results should count these as: their weights are mapped files, and the runtime holds the networks."""


@dataclass(frozen=True, eq=False)
class Model:
    """A UNet to be: its weights, the patches upon them, and the runtime that makes the network when one is needed.

    attachments: features that stand at places of the UNet while it samples. guided: from which noise level down to
    which classifier-free guidance applies; outside, the positive prompt alone is followed.
    """

    weights: Weights
    config: UNetConfig
    runtime: Runtime
    patches: tuple[WeightPatch, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    guided: tuple[float, float] = (math.inf, 0.0)
    cache_nbytes: ClassVar[int] = _HELD_ELSEWHERE

    def patched(self, patch: WeightPatch) -> Model:
        """This model with one more weight patch on top. Copies no weights."""
        return replace(self, patches=(*self.patches, patch))

    def attached(self, attachment: Attachment) -> Model:
        """This model with one more feature on its UNet."""
        return replace(self, attachments=(*self.attachments, attachment))


@dataclass(frozen=True, eq=False)
class Clip:
    """A text encoder to be, with its tokenizer.

    layer: which hidden state conditions the UNet, counted from the end; -1 is the last, -2 the one before it.
    """

    weights: Weights
    config: TextConfig
    tokenizer: Tokenizer
    runtime: Runtime
    patches: tuple[WeightPatch, ...] = ()
    layer: int = -1
    cache_nbytes: ClassVar[int] = _HELD_ELSEWHERE

    def patched(self, patch: WeightPatch) -> Clip:
        """This encoder with one more weight patch on top. Copies no weights."""
        return replace(self, patches=(*self.patches, patch))


@dataclass(frozen=True, eq=False)
class Vae:
    """An autoencoder to be: the full one, or a tiny one that stands in for it."""

    weights: Weights
    config: VAEConfig | TinyVAEConfig
    runtime: Runtime
    cache_nbytes: ClassVar[int] = _HELD_ELSEWHERE
