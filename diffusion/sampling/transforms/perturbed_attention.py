"""Perturbed-attention guidance: away from what the UNet draws when its middle sees no structure (Ahn et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffusion.networks.attachments import Call, Hooks, SelfAttend, Spot
from diffusion.sampling.transforms.stages import Predicted


@dataclass(frozen=True)
class PerturbedAttention:
    """A change after combination. scale: how far to go (eq. 14); one more call of the UNet a step."""

    scale: float

    def __call__(self, seen: Predicted, denoised: Tensor) -> Tensor:
        if seen.positive is None:
            raise ValueError("Perturbed-attention guidance needs a guider that follows a positive prompt.")
        (perturbed,) = seen.predict(seen.x, seen.sigma, [seen.positive], attached=(_perturbed,))
        return denoised + (seen.cond - perturbed) * self.scale


def _perturbed(call: Call) -> Hooks:
    return Hooks(self_attention=(_values_alone,))


def _values_alone(attend: SelfAttend, tokens: Tensor, spot: Spot) -> Tensor:
    """In the middle block every token attends to itself alone (eq. 12)."""
    if spot.place.part != "middle":
        return attend(tokens)
    return spot.layer.to_out(spot.layer.to_v(tokens))
