"""Scenes under a sky: house, sailboat, mountains, trees, city, car, cactus, rainbow, balloon."""

from random import Random

from training.drawing.canvas import SIZE, Canvas
from training.drawing.palette import INK, PALETTE, SCENE_COLOURS, Colour, shaded
from training.drawing.phrases import with_article
from training.drawing.weather import (
    LIT_WINDOW,
    SKY_WORDS,
    TREE_WORDS,
    choose_time,
    draw_ground,
    draw_sea,
    draw_sky,
    draw_tree,
    lit,
    window_colour,
)

_GLASS: Colour = (185, 220, 240)


def house(rng: Random, canvas: Canvas) -> str:
    """A house with roof and walls of a colour, often a tree beside it, now and then snow."""
    time, when = choose_time(rng)
    roof = rng.choice(("red", "blue", "orange", "purple", "green", "black", "brown"))
    wall = rng.choice(("white", "yellow", "pink", "gray", "blue", "orange"))
    wall = "white" if wall == roof else wall
    tree = rng.choice(("green", "pine", "autumn", "apple")) if rng.random() < 0.65 else None
    side = rng.choice((-1, 1)) if tree else 0
    snow = rng.random() < 0.15
    x = 64 - side * 20 + rng.uniform(-3, 3)
    draw_sky(rng, canvas, time, horizon=92, x=64 + side * 42 if tree else rng.choice((18, 110)))
    draw_ground(rng, canvas, time, kind="snow" if snow else "grass", top=92)
    canvas.rectangle(x - 25, 66, x + 25, 104, colour=lit(SCENE_COLOURS[wall], time))
    roof_colour = INK if roof == "black" else lit(SCENE_COLOURS[roof], time)
    canvas.polygon([(x - 31, 67), (x, 38), (x + 31, 67)], colour=roof_colour)
    canvas.rectangle(x - 6, 82, x + 6, 104, colour=lit((110, 65, 35), time))
    for left in (-21, 9):
        canvas.rectangle(x + left, 74, x + left + 12, 86, colour=window_colour(time))
    words = f"a house with {with_article(roof)} roof"
    if rng.random() < 0.75:
        words = rng.choice(
            (f"{words} and {wall} walls", f"{with_article(wall)} house with {with_article(roof)} roof")
        )
    if tree:
        draw_tree(canvas, x + side * 45, 106, 1.05, kind=tree, time=time)
        words = f"{words} {rng.choice(('and', 'next to', 'beside'))} {rng.choice(TREE_WORDS[tree])}"
    return f"{words} in the snow {when}" if snow else f"{words} {when}"


def sailboat(rng: Random, canvas: Canvas) -> str:
    """A boat with two sails on water; sun or moon glitters on it when low."""
    time, when = choose_time(rng)
    sail = rng.choice(("white", "red", "yellow", "blue", "orange", "pink", "green", "purple", "black"))
    hull = rng.choice(("brown", "red", "white", "blue", "black"))
    light_x = rng.choice((24, 104))
    draw_sky(rng, canvas, time, horizon=74, x=light_x)
    draw_sea(rng, canvas, time, top=74, light_x=light_x)
    x, y = 64 + rng.uniform(-6, 6), 90 + rng.uniform(-3, 3)
    colour = SCENE_COLOURS[sail]
    canvas.rectangle(x - 1.4, y - 48, x + 1.4, y, colour=(70, 45, 30))
    canvas.polygon([(x + 3, y - 46), (x + 27, y - 8), (x + 3, y - 8)], colour=colour)
    canvas.polygon([(x - 3, y - 40), (x - 20, y - 8), (x - 3, y - 8)], colour=colour)
    canvas.polygon(
        [(x - 28, y - 4), (x + 30, y - 4), (x + 20, y + 11), (x - 19, y + 11)], colour=SCENE_COLOURS[hull]
    )
    words = rng.choice(
        (
            f"a sailboat with {with_article(sail)} sail",
            f"a boat with {with_article(sail)} sail",
            f"{with_article(hull)} sailboat with {with_article(sail)} sail",
        )
    )
    return f"{words} {rng.choice(('on the sea', 'on the ocean', 'on the water'))} {when}"


def mountains(rng: Random, canvas: Canvas) -> str:
    """One to three mountains, with snow or without, above grass with pines or a lake."""
    time, when = choose_time(rng)
    number, snow, lake = rng.choice((1, 2, 3)), rng.random() < 0.7, rng.random() < 0.3
    draw_sky(rng, canvas, time, horizon=98, x=rng.choice((20, 108)))
    peaks = {
        1: ((64, 34, 58),),
        2: ((40, 48, 44), (88, 36, 50)),
        3: ((24, 56, 36), (104, 54, 36), (64, 36, 46)),
    }[number]
    for x, y, half in peaks:
        _mountain(canvas, x + rng.uniform(-4, 4), y + rng.uniform(-4, 4), half, time=time, snow=snow)
    if lake:
        canvas.gradient(lit((80, 150, 210), time), lit((45, 105, 175), time), start=98, end=SIZE)
        words = "with a lake"
    else:
        draw_ground(rng, canvas, time, top=100)
        for x in (22, 62, 102):
            draw_tree(canvas, x + rng.uniform(-14, 14), rng.uniform(110, 122), 0.55, kind="pine", time=time)
        words = rng.choice(("", "with pine trees"))
    kind = "snowy mountain" if snow else "mountain"
    name = {1: f"a {kind}", 2: f"two {kind}s", 3: rng.choice((f"three {kind}s", f"{kind}s"))}[number]
    return f"{name} {words} {when}"


def _mountain(canvas: Canvas, x: float, y: float, half: float, *, time: str, snow: bool) -> None:
    foot = 102
    canvas.polygon([(x - half, foot), (x, y), (x + half, foot)], colour=lit((105, 108, 125), time))
    if snow:
        height = foot - y
        edge = ((0.36, 0.36), (0.15, 0.28), (0, 0.42), (-0.17, 0.28), (-0.36, 0.36))
        points = [(x, y), *((x + half * dx, y + height * dy) for dx, dy in edge)]
        canvas.polygon(points, colour=lit((245, 248, 252), "sunset" if time == "night" else "day"))


def trees(rng: Random, canvas: Canvas) -> str:
    """One large tree or two smaller ones on grass or snow."""
    time, when = choose_time(rng)
    ground, kind = rng.choice(("grass", "grass", "snow")), rng.choice(list(TREE_WORDS))
    draw_sky(rng, canvas, time, horizon=98)
    draw_ground(rng, canvas, time, kind=ground, top=98)
    if rng.random() < 2 / 3:
        draw_tree(canvas, 64 + rng.uniform(-6, 6), 110, 1.7, kind=kind, time=time)
        words = rng.choice(TREE_WORDS[kind])
    else:
        for x in (36, 92):
            draw_tree(canvas, x + rng.uniform(-4, 4), 110, 1.3, kind=kind, time=time)
        first = TREE_WORDS[kind][0]
        words = f"two {first.removeprefix('an ').removeprefix('a ')}s"
    places = {"grass": ("in a meadow", "on a green field", "on a hill"), "snow": ("in the snow", "in winter")}
    return f"{words} {rng.choice(places[ground])} {when}"


def city(rng: Random, canvas: Canvas) -> str:
    """Buildings of different heights side by side, each with an even grid of windows."""
    time, when = choose_time(rng)
    draw_sky(rng, canvas, time, horizon=112, x=rng.choice((20, 108)))
    glass = LIT_WINDOW if time in ("night", "sunset") else (185, 205, 225)
    left = -6.0 + rng.uniform(-4, 4)
    tall = rng.random() < 0.5
    while left < SIZE:
        width = rng.choice((20, 28))
        height = rng.uniform(60, 88) if tall else rng.uniform(34, 54)
        tall = not tall
        shade = 0.75 if tall else 1.1
        canvas.rectangle(
            left, 114 - height, left + width, 114, colour=shaded(lit((82, 88, 112), time), shade)
        )
        columns = 2 if width == 20 else 3
        for row in range(int((height - 4) // 11)):
            for column in range(columns):
                x, y = left + 3.5 + column * 8, 114 - height + 5 + row * 11
                canvas.rectangle(x, y, x + 5, y + 6, colour=glass)
        left += width
    canvas.rectangle(0, 114, SIZE, SIZE, colour=lit((70, 72, 80), time))
    return f"{rng.choice(('a city skyline', 'a city', 'a city with tall buildings'))} {when}"


def car(rng: Random, canvas: Canvas) -> str:
    """A car seen from the side on a road."""
    time, when = choose_time(rng)
    name = rng.choice(("red", "blue", "yellow", "green", "orange", "white", "black", "purple", "pink"))
    draw_sky(rng, canvas, time, horizon=86)
    draw_ground(rng, canvas, time, top=86)
    canvas.rectangle(0, 98, SIZE, 122, colour=lit((85, 85, 92), time))
    for index in range(4):
        canvas.rectangle(8 + index * 32, 115, 24 + index * 32, 117, colour=lit((240, 240, 240), time))
    x, y, colour = 64 + rng.uniform(-6, 6), 100, PALETTE[name]
    canvas.polygon([(x - 24, y - 14), (x - 15, y - 32), (x + 13, y - 32), (x + 24, y - 14)], colour=colour)
    canvas.rounded(x - 40, y - 16, x + 40, y + 4, radius=5, colour=colour)
    canvas.polygon([(x - 19, y - 15), (x - 12, y - 28), (x - 2, y - 28), (x - 2, y - 15)], colour=_GLASS)
    canvas.polygon([(x + 2, y - 15), (x + 2, y - 28), (x + 11, y - 28), (x + 18, y - 15)], colour=_GLASS)
    for dx in (-22, 22):
        canvas.ellipse(x + dx, y + 4, 9, colour=INK)
        canvas.ellipse(x + dx, y + 4, 4, colour=(190, 190, 195))
    canvas.ellipse(x + 37, y - 9, 3, colour=(255, 245, 150))
    return f"{with_article(name)} car {rng.choice(('on a road', 'on the road', 'driving on a road'))} {when}"


def cactus(rng: Random, canvas: Canvas) -> str:
    """A cactus with two arms in a desert, now and then in flower."""
    time, when = choose_time(rng)
    draw_sky(rng, canvas, time, horizon=90, x=rng.choice((20, 108)))
    draw_ground(rng, canvas, time, kind="sand", top=90)
    x, colour, flower = 64 + rng.uniform(-8, 8), lit((45, 140, 70), time), rng.random() < 0.4
    canvas.rounded(x - 8, 38, x + 8, 108, radius=8, colour=colour)
    for left, top, right, bottom in ((-28, 64, 0, 74), (-28, 48, -18, 74), (0, 72, 28, 82), (18, 54, 28, 82)):
        canvas.rounded(x + left, top, x + right, bottom, radius=5, colour=colour)
    if flower:
        canvas.ellipse(x, 36, 6, colour=(250, 110, 170))
    return f"a cactus {'with a pink flower ' if flower else ''}in the desert {when}"


def rainbow(rng: Random, canvas: Canvas) -> str:
    """A rainbow of six colours over hills or the sea."""
    time = rng.choice(("day", "cloudy"))
    draw_sky(rng, canvas, time, horizon=100, sun=False)
    bands: tuple[Colour, ...] = (
        (225, 45, 45),
        (245, 140, 30),
        (250, 225, 60),
        (60, 180, 75),
        (50, 110, 225),
        (130, 60, 180),
    )
    for index, band in enumerate(bands):
        canvas.arc(64, 100, 58 - index * 5, 62 - index * 5, start=180, end=360, colour=band, width=5.4)
    where = rng.choice(("green hills", "the hills", "the sea", "the sea"))
    if where == "the sea":
        canvas.gradient((40, 120, 205), (20, 80, 165), start=98, end=SIZE)
    else:
        draw_ground(rng, canvas, time, top=98)
        canvas.ellipse(20, 118, 60, 26, colour=lit((80, 160, 65), time))
        canvas.ellipse(110, 120, 60, 26, colour=lit((105, 185, 80), time))
    return f"a rainbow over {where} {rng.choice(SKY_WORDS[time])}"


def balloon(rng: Random, canvas: Canvas) -> str:
    """A hot air balloon of one or two colours."""
    time, when = choose_time(rng)
    draw_sky(rng, canvas, time, horizon=112, x=rng.choice((16, 112)))
    draw_ground(rng, canvas, time, top=112)
    colours = ("red", "yellow", "blue", "orange", "purple", "pink", "green", "white")
    name, stripe = rng.sample(colours, 2)
    striped = rng.random() < 0.5
    x, y = 64 + rng.uniform(-10, 10), 46 + rng.uniform(-5, 5)
    canvas.polygon(
        [(x - 25, y + 14), (x + 25, y + 14), (x + 7, y + 42), (x - 7, y + 42)], colour=PALETTE[name]
    )
    canvas.ellipse(x, y, 28, colour=PALETTE[name])
    if striped:
        canvas.ellipse(x, y, 12, 28, colour=PALETTE[stripe])
        canvas.polygon(
            [(x - 11.4, y + 10), (x + 11.4, y + 10), (x + 4, y + 42), (x - 4, y + 42)], colour=PALETTE[stripe]
        )
    for sign in (-1, 1):
        canvas.line([(x + 6 * sign, y + 42), (x + 5 * sign, y + 50)], colour=(60, 40, 30), width=1.4)
    canvas.rectangle(x - 6, y + 49, x + 6, y + 58, colour=(130, 80, 40))
    colour = f"{name} and {stripe}" if striped else name
    return f"{with_article(colour)} hot air balloon {rng.choice(('in the sky', 'over a field', ''))} {when}"
