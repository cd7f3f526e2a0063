"""How long each stage of the tiny checkpoint trains, and on what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from training.drawing import Mixture
from training.loop import Plan
from training.networks import TINY, Sizes
from training.optimiser import Rates
from training.stages.unet import NoiseSettings

EXPECTED_HOURS = 3.0
"""What STANDARD takes on two processor cores with nothing beside it, by the measured cost of each stage's steps."""

PICTURES = Mixture(one=0.17, two=0.34, inside=0.04, several=0.05, scene=0.40)
READINGS = Mixture(one=0.15, two=0.6, inside=0.05, several=0.04, scene=0.16)
"""For the text encoder: mostly captions in which it matters which thing is where."""


@dataclass(frozen=True)
class Recipe:
    """Everything that, with a seed, determines a checkpoint.

    captions: drawn to learn the vocabulary from. pictures: drawn for the UNet's cached latents.
    autoencoder, reading, unet, decoder: the stages' plans. noise: how the UNet's batches are made.
    text_frozen: the share of the UNet's steps for which the text encoder stays as it is.
    crop, crops: side and number of the autoencoder's training crops, for each part of a step. readings, decodings:
    examples for each part of a step of the text stage and of the decoder's.
    """

    autoencoder: Plan
    reading: Plan
    unet: Plan
    decoder: Plan
    pictures: int
    captions: int = 8000
    sizes: Sizes = TINY
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    text_frozen: float = 0.6
    crop: int = 64
    crops: int = 8
    readings: int = 32
    decodings: int = 4
    mixture: Mixture = PICTURES
    reading_mixture: Mixture = READINGS

    def for_hours(self, hours: float) -> Recipe:
        """This recipe with every stage's steps scaled to take about `hours` where STANDARD takes EXPECTED_HOURS."""
        share = hours / EXPECTED_HOURS

        def scaled(plan: Plan) -> Plan:
            return replace(plan, steps=max(1, round(plan.steps * share)))

        return replace(
            self,
            autoencoder=scaled(self.autoencoder),
            reading=scaled(self.reading),
            unet=scaled(self.unet),
            decoder=scaled(self.decoder),
            pictures=max(1, round(self.pictures * min(1.0, share))),
        )


STANDARD = Recipe(
    autoencoder=Plan(steps=1000, rates=Rates(matrix=1e-3, other=1e-3), warmup=30, average=0.99),
    reading=Plan(steps=1900, rates=Rates(matrix=2e-3, other=1e-3), average=0.99),
    unet=Plan(steps=9000, rates=Rates(matrix=2e-3, other=1.5e-3, slowed={"text.": 0.2}), warmup=60),
    decoder=Plan(steps=1000, rates=Rates(matrix=8e-4, other=6e-4), warmup=30, average=0.99),
    pictures=20_000,
)

CONTINUED = replace(
    STANDARD,
    unet=Plan(steps=1500, rates=Rates(matrix=1e-3, other=7e-4), warmup=40, average=0.998),
    pictures=8000,
    text_frozen=1.0,
)
"""Going on from a finished checkpoint: its autoencoder's encoder and its text encoder stay as they are."""
