"""The ten named colours."""

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
