"""What leads a run: a network that reads pictures, and such a network with its picture on a conditioning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from diffusion.config import AdapterConfig, ControlNetConfig, UNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.t2i_adapter import FullAdapter, LightAdapter
from diffusion.patches import WeightPatch
from diffusion.types import Cond, Conditioning, Image, Weights

CONTROL = "control"
"""The option of a Cond under which its controls are: a tuple, the one applied first in front."""
TO_ALL = "control_apply_to_uncond"
"""The option that says that the controls of a positive prompt lead the negative one too, unless it has its own."""
STRENGTH_TYPES = ("constant", "linear_up")


@dataclass(frozen=True, eq=False)
class ControlModel:
    """A ControlNet or T2I-Adapter to be: its weights and config. The runtime of the model that it leads makes it.

    patches: what changes its weights when it is made.
    pooled: what a ControlNet adds is averaged over the picture first, as those trained to copy a style need.
    """

    weights: Weights
    config: ControlNetConfig | AdapterConfig
    pooled: bool = False
    patches: tuple[WeightPatch, ...] = ()
    cache_nbytes: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return "ControlNet" if isinstance(self.config, ControlNetConfig) else "T2I-Adapter"

    def check_fits(self, unet: UNetConfig) -> None:
        """Raise ValueError unless what it adds is of the sizes that this UNet has."""
        mine: Mapping[str, object]
        if isinstance(self.config, ControlNetConfig):
            own = self.config.unet
            mine = {"channels": own.channels, "blocks": own.blocks, "width of prompts": own.context_dim}
        else:
            mine = {"channels": self.config.channels}
        theirs = {"channels": unet.channels, "blocks": unet.blocks, "width of prompts": unet.context_dim}
        for what, found in mine.items():
            if found != theirs[what]:
                raise ValueError(
                    f"This {self.name} was made for a model of another size ({what}: {found}, and the model's are "
                    f"{theirs[what]}). Use a {self.name} that belongs to the checkpoint's family."
                )


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlModel with the picture that it reads.

    hint: [B, H, W, C] float32, 0..1, any size; cut to the shape of the latent around its centre and scaled. strength:
    what it adds is multiplied by this; with strength_type "linear_up" by a power of it, the higher the finer the
    stage. start, end: the part of the schedule in which it leads, as shares, 0 being the noisiest level. Raises
    ValueError for a picture of other channels, and for numbers out of bounds.
    """

    model: ControlModel
    hint: Image
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    strength_type: str = "constant"

    def __post_init__(self) -> None:
        self._check_hint()
        self._check_strength()
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError(
                f"start_percent and end_percent lie within 0..1, the end not before the start; got {self.start} and "
                f"{self.end}."
            )

    def _check_hint(self) -> None:
        channels = self.model.config.hint_channels
        averaged = isinstance(self.model.config, AdapterConfig) and channels == 1
        if self.hint.ndim != 4 or 0 in self.hint.shape or not (averaged or self.hint.shape[-1] == channels):
            raise ValueError(
                f"This {self.model.name} reads pictures of the shape [batch, height, width, {channels}]; got "
                f"{list(self.hint.shape)}. Take an alpha channel off with SplitImageWithAlpha, or turn a mask into a "
                "picture first."
            )
        if not torch.isfinite(self.hint).all():
            raise ValueError(
                "The picture holds NaN or infinite numbers. Look at the node that it comes from."
            )

    def _check_strength(self) -> None:
        if not math.isfinite(self.strength):
            raise ValueError(f"The strength is a finite number; got {self.strength}.")
        if self.strength_type not in STRENGTH_TYPES:
            known = " and ".join(STRENGTH_TYPES)
            raise ValueError(f"There is no strength_type {self.strength_type!r}, only {known}.")
        if self.strength_type == "linear_up" and self.strength < 0:
            raise ValueError(
                f"A negative strength goes with strength_type constant only; got {self.strength}."
            )

    def strength_at(self, stage: int, stages: int) -> float:
        """What a ControlNet's part for input stage `stage`, or for the middle as the last of them, is multiplied by."""
        return self.strength if self.strength_type == "constant" else self.strength ** (stages - stage)


def network_kind(
    config: ControlNetConfig | AdapterConfig,
) -> type[ControlNet] | type[FullAdapter] | type[LightAdapter]:
    """The kind of network that a config describes."""
    if isinstance(config, ControlNetConfig):
        return ControlNet
    return LightAdapter if config.light else FullAdapter


def controls_of(entry: Cond) -> tuple[Control, ...]:
    """The controls that ride on a prompt."""
    controls = entry.options.get(CONTROL, ())
    assert isinstance(controls, tuple)
    return controls


def controlled(conditioning: Conditioning, control: Control, *, to_all: bool = False) -> Conditioning:
    """The conditioning, led by one more control. Without any strength it comes back as it is.

    to_all: whether it leads the other prompts of a sampler too that have no control of their own.
    """
    if control.strength == 0:
        return conditioning
    return Conditioning(
        tuple(
            replace(
                entry,
                options={**entry.options, CONTROL: (*controls_of(entry), control), TO_ALL: to_all},
            )
            for entry in conditioning.entries
        )
    )
