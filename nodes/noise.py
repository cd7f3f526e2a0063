"""Nodes that make noise out of noise."""

from typing import Annotated

from diffusion.latents.variation import MixedNoise
from diffusion.sampling.starting_noise import Noise
from graph import Range, node


@node("VariationNoise", title="Variation Noise", category="sampling/custom_sampling/noise")
def variation_noise(
    *, noise: Noise, variation: Noise, strength: Annotated[float, Range(0, 1, step=0.01)] = 0.1
) -> Noise:
    """Noise turned towards other noise: variations of a picture that stay close to it ("variation seed").

    Inputs:
        noise: The noise of the picture.
        variation: The noise to turn to; each seed gives another variation.
        strength: How far: 0 is the picture itself, 1 is the picture of the other noise.

    Outputs:
        NOISE: The noise, unit normal like both.
    """
    return MixedNoise.between(noise, variation, strength)
