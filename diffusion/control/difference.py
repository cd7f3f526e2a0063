"""ControlNets that are kept as what they differ in from the model that they were trained on."""

from __future__ import annotations

from dataclasses import replace

from diffusion.config import ControlNetConfig
from diffusion.control.model import ControlModel
from diffusion.merging import Shares, Sum
from diffusion.model import Model

_WHOLE = Shares(1.0, 1.0)


def added_to(difference: ControlModel, model: Model) -> ControlModel:
    """The ControlNet that a difference makes of a model, whose weights are added when its network is made.

    Raises ValueError when the two are of different sizes.
    """
    difference.check_fits(model.config)
    assert isinstance(difference.config, ControlNetConfig)
    expected = difference.config.unet.in_channels
    if model.config.in_channels != expected:
        raise ValueError(
            f"This ControlNet's difference is to a model of {expected} channels, and this model takes "
            f"{model.config.in_channels}. Give the plain model that the inpainting or editing model comes from."
        )
    shared = dict.fromkeys(difference.weights.keys() & model.weights.keys(), _WHOLE)
    return replace(difference, patches=(Sum(shared, model.weights, model.patches),))
