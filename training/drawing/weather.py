"""What scenes share: skies at five times, ground, water, clouds and trees."""

from random import Random

from training.drawing.canvas import SIZE, Canvas
from training.drawing.palette import Colour, lighter, shaded

SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((70, 150, 240), (185, 225, 250)),
    "sunset": ((90, 50, 130), (255, 150, 70)),
    "night": ((8, 12, 45), (40, 50, 110)),
    "cloudy": ((130, 145, 165), (200, 208, 216)),
    "sunrise": ((245, 170, 190), (255, 225, 150)),
}
SKY_WORDS = {
    "day": ("under a sunny sky", "on a sunny day", "under a blue sky", "in the daytime", ""),
    "sunset": ("at sunset", "under a sunset sky", "at dusk"),
    "night": ("at night", "under a starry sky", "under a night sky", "at night with a full moon"),
    "cloudy": ("under a cloudy sky", "on a cloudy day", "on a gray day"),
    "sunrise": ("at sunrise", "at dawn", "in the early morning"),
}
LIGHT = {"day": 1.0, "sunset": 0.78, "night": 0.5, "cloudy": 0.9, "sunrise": 0.9}
"""How bright things are at each time."""

LIT_WINDOW: Colour = (255, 225, 110)
_SKY_SHARES = (3.0, 2.0, 2.5, 1.2, 1.0)
_GROUNDS: dict[str, Colour] = {"grass": (95, 175, 75), "snow": (240, 245, 250), "sand": (235, 205, 140)}
_SEAS: dict[str, tuple[Colour, Colour]] = {
    "day": ((40, 120, 205), (20, 80, 165)),
    "sunset": ((190, 95, 90), (60, 40, 100)),
    "night": ((18, 28, 80), (8, 12, 40)),
    "cloudy": ((95, 120, 140), (70, 95, 115)),
    "sunrise": ((225, 160, 150), (110, 120, 170)),
}
_GLITTER: dict[str, Colour] = {
    "sunset": (255, 205, 120),
    "night": (225, 225, 205),
    "sunrise": (255, 225, 160),
}

TREE_WORDS = {
    "green": ("a green tree", "a tree"),
    "pine": ("a pine tree",),
    "autumn": ("an orange autumn tree", "an autumn tree"),
    "apple": ("an apple tree",),
    "blossom": ("a pink blossom tree",),
}
_LEAVES: dict[str, Colour] = {
    "green": (50, 150, 60),
    "autumn": (225, 115, 30),
    "apple": (50, 150, 60),
    "blossom": (250, 165, 200),
}


def choose_time(rng: Random) -> tuple[str, str]:
    """A time and the words for it (which may be empty by day)."""
    time = rng.choices(list(SKIES), _SKY_SHARES)[0]
    return time, rng.choice(SKY_WORDS[time])


def lit(colour: Colour, time: str) -> Colour:
    """`colour` as it looks at that time."""
    return shaded(colour, LIGHT[time])


def window_colour(time: str) -> Colour:
    """Windows are lit in the evening and reflect the sky by day."""
    return LIT_WINDOW if time in ("night", "sunset") else (165, 215, 245)


def draw_sky(
    rng: Random, canvas: Canvas, time: str, *, horizon: float = SIZE, sun: bool = True, x: float | None = None
) -> None:
    """The sky down to `horizon`, with sun or moon at `x` (left or right when not given), clouds or stars."""
    canvas.gradient(*SKIES[time], end=horizon)
    x = rng.choice((24, 104)) + rng.uniform(-4, 4) if x is None else x
    if time == "day":
        if sun:
            canvas.ellipse(x, 22 + rng.uniform(-3, 3), 11, colour=(255, 222, 60))
        draw_cloud(canvas, 128 - x + rng.uniform(-5, 5), 26 + rng.uniform(-5, 5), rng.uniform(0.9, 1.2))
    elif time == "cloudy":
        for left, top in ((28, 22), (70, 34), (104, 18)):
            size = rng.uniform(1.1, 1.4)
            draw_cloud(
                canvas, left + rng.uniform(-6, 6), top + rng.uniform(-4, 4), size, colour=(232, 236, 240)
            )
    elif time == "night":
        draw_stars(rng, canvas, count=12, bottom=horizon * 0.8)
        if sun:
            canvas.ellipse(x, 23, 11, colour=(250, 246, 215))
    elif sun:
        colour, height = ((255, 205, 80), 8) if time == "sunset" else ((255, 120, 80), 6)
        canvas.ellipse(x, horizon - height, 15, colour=colour)


def draw_stars(rng: Random, canvas: Canvas, *, count: int, bottom: float) -> None:
    """Stars in even rows with a little disorder, so that no two lie together."""
    columns = 4
    rows = -(-count // columns)
    for index in range(count):
        row, column = divmod(index, columns)
        x = (column + 0.5 + 0.25 * (-1) ** row) * SIZE / columns + rng.uniform(-7, 7)
        y = (row + 0.5) * bottom / rows + rng.uniform(-5, 5)
        canvas.ellipse(x, y, rng.choice((1.1, 1.5)), colour=(255, 255, 235))


def draw_cloud(canvas: Canvas, x: float, y: float, size: float, *, colour: Colour = (250, 250, 252)) -> None:
    """A cloud of three puffs."""
    for dx in (-9, 9):
        canvas.ellipse(x + dx * size, y + 2 * size, 8 * size, 5 * size, colour=colour)
    canvas.ellipse(x, y - size, 10 * size, 8 * size, colour=colour)


def draw_ground(rng: Random, canvas: Canvas, time: str, *, kind: str = "grass", top: float) -> None:
    """Grass, snow or sand from `top` down, with a gentle hill."""
    colour = lit(_GROUNDS[kind], time)
    canvas.rectangle(0, top, SIZE, SIZE, colour=colour)
    canvas.ellipse(rng.uniform(20, 108), top + 8, 80, 13, colour=colour)


def draw_sea(rng: Random, canvas: Canvas, time: str, *, top: float, light_x: float | None = None) -> None:
    """Water from `top` down with a few long waves; the sun or moon glitters below `light_x`, when there is one."""
    canvas.gradient(*_SEAS[time], start=top, end=SIZE)
    for index, y in enumerate((88, 102, 116)):
        x = (14, 62, 30)[index] + rng.uniform(-8, 8)
        canvas.rounded(x, y, x + rng.uniform(34, 44), y + 2, radius=1, colour=lighter(_SEAS[time][0], 30))
    if light_x is not None and time in _GLITTER:
        for half_width, y in ((12, 3), (9, 9), (6, 15), (4, 21)):
            canvas.rounded(
                light_x - half_width,
                top + y,
                light_x + half_width,
                top + y + 3,
                radius=1.5,
                colour=_GLITTER[time],
            )


def draw_tree(canvas: Canvas, x: float, y: float, size: float, *, kind: str, time: str) -> None:
    """A tree standing at (x, y), about 45 units high at size 1."""
    canvas.rectangle(x - 2.5 * size, y - 16 * size, x + 2.5 * size, y, colour=lit((110, 70, 40), time))
    if kind == "pine":
        for tier in range(3):
            half, foot = (9 + tier * 3.5) * size, y - (32 - tier * 11) * size
            tip = (x, y - (52 - tier * 10) * size)
            canvas.polygon([tip, (x + half, foot), (x - half, foot)], colour=lit((25, 105, 60), time))
        return
    colour = lit(_LEAVES[kind], time)
    canvas.ellipse(x, y - 30 * size, 15 * size, colour=colour)
    for dx in (-9, 9):
        canvas.ellipse(x + dx * size, y - 23 * size, 10 * size, colour=colour)
    if kind == "apple":
        for dx, dy in ((-8, -26), (3, -36), (8, -24), (-2, -23)):
            canvas.ellipse(x + dx * size, y + dy * size, 2.6 * size, colour=lit((225, 35, 35), time))
