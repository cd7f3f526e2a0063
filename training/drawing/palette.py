"""The ten named colours, the few extra ones of scenes, and small changes to a colour."""

from random import Random

from imaging.shapes.palette import NAMES, PALETTE, Colour

__all__ = [
    "INK",
    "NAMES",
    "PALETTE",
    "SCENE_COLOURS",
    "Colour",
    "jittered",
    "lighter",
    "other_than",
    "shaded",
]

SCENE_COLOURS: dict[str, Colour] = PALETTE | {
    "brown": (120, 72, 38),
    "cyan": (60, 200, 215),
    "gold": (235, 185, 45),
}

INK: Colour = (25, 22, 25)
"""For outlines, pupils and the like."""


def jittered(name: str, rng: Random, *, amount: int = 7) -> Colour:
    """The named colour with each channel moved by up to `amount`."""
    red, green, blue = (
        min(255, max(0, value + rng.randint(-amount, amount))) for value in SCENE_COLOURS[name]
    )
    return red, green, blue


def shaded(colour: Colour, factor: float) -> Colour:
    """`colour` made darker (factor < 1) or lighter (> 1), clipped."""
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def lighter(colour: Colour, amount: int) -> Colour:
    """`colour` with `amount` added to each channel, clipped."""
    red, green, blue = (min(255, value + amount) for value in colour)
    return red, green, blue


def other_than(rng: Random, *names: str) -> str:
    """A random colour name that is none of `names`."""
    return rng.choice([name for name in NAMES if name not in names])
