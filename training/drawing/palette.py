"""The ten named colours, the few extra ones of scenes, and small changes to a colour."""

from random import Random

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

PALETTE: dict[str, Colour] = {
    "red": (220, 38, 38),
    "orange": (245, 140, 25),
    "yellow": (248, 222, 50),
    "green": (40, 160, 65),
    "blue": (38, 85, 225),
    "purple": (135, 45, 175),
    "pink": (250, 140, 190),
    "black": (22, 22, 26),
    "white": (248, 248, 248),
    "gray": (140, 142, 148),
}
NAMES = tuple(PALETTE)

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
