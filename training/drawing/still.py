"""Scenes of one thing close up: faces, cats, flowers, fish, snowmen, mushrooms, ice cream, rockets, planets."""

import math
from random import Random

from training.drawing.canvas import SIZE, Canvas
from training.drawing.palette import INK, NAMES, PALETTE, SCENE_COLOURS, Colour, jittered, lighter, other_than
from training.drawing.phrases import on_background, with_article
from training.drawing.weather import choose_time, draw_ground, draw_sky, draw_stars

_EAR: Colour = (245, 165, 175)
_STEM: Colour = (40, 130, 50)
_LEAF: Colour = (50, 150, 60)
_SNOW: Colour = (250, 252, 255)
_SNOW_EDGE: Colour = (205, 215, 228)


def face(rng: Random, canvas: Canvas) -> str:
    """A round face in one of six moods."""
    name = rng.choice(("yellow", "yellow", "green", "blue", "pink", "orange", "purple", "red", "white"))
    background = other_than(rng, name)
    mood = rng.choice(("smiling", "smiling", "sad", "surprised", "angry", "winking", "sleeping"))
    x, y, radius = 64 + rng.uniform(-3, 3), 64 + rng.uniform(-3, 3), rng.uniform(40, 46)
    canvas.fill(jittered(background, rng))
    canvas.ellipse(x, y, radius, colour=jittered(name, rng))
    _features(canvas, x, y, radius / 43, mood)
    word = rng.choice(("smiling", "happy")) if mood == "smiling" else mood
    return on_background(rng, f"{with_article(word)} {name} face", background=background)


def _features(canvas: Canvas, x: float, y: float, k: float, mood: str) -> None:
    for dx, closed in ((-15, mood == "sleeping"), (15, mood in ("sleeping", "winking"))):
        if closed:
            canvas.arc(x + dx * k, y - 10 * k, 7 * k, 5 * k, start=0, end=180, colour=INK, width=3 * k)
        else:
            canvas.ellipse(x + dx * k, y - 11 * k, 5 * k, 7 * k, colour=INK)
    if mood == "sad":
        canvas.arc(x, y + 32 * k, 19 * k, 17 * k, start=205, end=335, colour=INK, width=4 * k)
    elif mood == "surprised":
        canvas.ellipse(x, y + 18 * k, 8 * k, 11 * k, colour=INK)
    elif mood == "angry":
        canvas.line([(x - 15 * k, y + 22 * k), (x + 15 * k, y + 22 * k)], colour=INK, width=4 * k)
        for side in (-1, 1):
            brow = [(x + side * 25 * k, y - 26 * k), (x + side * 8 * k, y - 19 * k)]
            canvas.line(brow, colour=INK, width=4 * k)
    else:
        canvas.arc(x, y + 4 * k, 22 * k, 20 * k, start=20, end=160, colour=INK, width=4 * k)


def cat(rng: Random, canvas: Canvas) -> str:
    """A cat's face with a pale muzzle, so that nose and mouth stand out."""
    name = rng.choice(("orange", "black", "gray", "white", "brown", "pink"))
    background, eyes = other_than(rng, name), rng.choice(("green", "yellow", "blue"))
    x, y, fur = 64 + rng.uniform(-3, 3), 70 + rng.uniform(-3, 3), jittered(name, rng)
    canvas.fill(jittered(background, rng))
    for side in (-1, 1):
        ear = [(x + side * 36, y - 6), (x + side * 32, y - 46), (x + side * 6, y - 28)]
        canvas.polygon(ear, colour=fur)
        inner = [(x + side * 31, y - 16), (x + side * 29, y - 37), (x + side * 14, y - 27)]
        canvas.polygon(inner, colour=_EAR)
    canvas.ellipse(x, y, 38, 33, colour=fur)
    muzzle = lighter(fur, 70) if name != "white" else (225, 225, 230)
    for side in (-1, 1):
        canvas.ellipse(x + side * 8, y + 17, 12, 10, colour=muzzle)
        canvas.ellipse(x + side * 15, y - 6, 9, colour=SCENE_COLOURS[eyes])
        canvas.ellipse(x + side * 15, y - 6, 3.4, 8, colour=INK)
        whisker = (235, 235, 235) if background == "black" else INK
        for tilt in (-5, 5):
            canvas.line(
                [(x + side * 22, y + 16 + tilt * 0.5), (x + side * 47, y + 14 + tilt * 1.6)],
                colour=whisker,
                width=1.7,
            )
    canvas.polygon([(x - 7, y + 7), (x + 7, y + 7), (x, y + 15)], colour=(235, 90, 120))
    for side in (-1, 1):
        canvas.arc(x + side * 6, y + 15, 6, 7, start=0, end=180, colour=INK, width=2.6)
    words = rng.choice(("cat", "cat face", f"cat with {eyes} eyes", f"cat with {eyes} eyes"))
    return on_background(rng, f"{with_article(name)} {words}", background=background)


def flower(rng: Random, canvas: Canvas) -> str:
    """A flower with petals of a colour, in a meadow or before a plain background."""
    name = rng.choice(("red", "orange", "yellow", "pink", "purple", "blue", "white"))
    middle = rng.choice(("yellow", "orange", "brown"))
    middle = "brown" if middle == name else middle
    petals, x, y = rng.choice((5, 6, 8)), 64 + rng.uniform(-4, 4), 50 + rng.uniform(-3, 3)
    outdoors = rng.random() < 0.5
    background = other_than(rng, name, "green")
    time, when = choose_time(rng)
    if outdoors:
        draw_sky(rng, canvas, time, horizon=104)
        draw_ground(rng, canvas, time, top=104)
    else:
        canvas.fill(jittered(background, rng))
    canvas.line([(x, y), (x, 118)], colour=_STEM, width=4)
    canvas.ellipse(x + 10, 96, 10, 5, colour=_LEAF)
    canvas.ellipse(x - 10, 88, 10, 5, colour=_LEAF)
    for index in range(petals):
        angle = 2 * math.pi * index / petals
        px, py = x + 17 * math.cos(angle), y + 17 * math.sin(angle)
        canvas.ellipse(px, py, 11 if petals < 8 else 9, colour=SCENE_COLOURS[name])
    canvas.ellipse(x, y, 10.5, colour=SCENE_COLOURS[middle])
    words = rng.choice(
        (
            f"a flower with {name} petals",
            f"{with_article(name)} flower",
            f"a flower with {name} petals and {with_article(middle)} center",
        )
    )
    if outdoors:
        return f"{words} {rng.choice(('in a meadow', 'in a garden', 'in the grass'))} {when}"
    return on_background(rng, words, background=background)


def fish(rng: Random, canvas: Canvas) -> str:
    """A fish under water, striped or not, facing left or right."""
    canvas.gradient((60, 160, 220), (10, 60, 130))
    canvas.ellipse(rng.uniform(30, 98), 128, 90, 14, colour=(225, 200, 140))
    name, stripe = rng.sample(("orange", "yellow", "red", "purple", "pink", "green", "white", "black"), 2)
    x, y, way = 62 + rng.uniform(-6, 6), 62 + rng.uniform(-8, 8), rng.choice((1, -1))
    for foot in (14, 26, 106, 116):
        height = rng.uniform(22, 32)
        weed = [(foot, 120), (foot + 3, 120 - height / 2), (foot - 1, 120 - height)]
        canvas.line(weed, colour=(40, 140, 70), width=4)
    colour = PALETTE[name]
    canvas.polygon([(x - way * 24, y), (x - way * 46, y - 17), (x - way * 46, y + 17)], colour=colour)
    canvas.polygon([(x - 10, y - 14), (x + 8, y - 30), (x + 12, y - 12)], colour=colour)
    canvas.ellipse(x, y, 32, 20, colour=colour)
    striped = rng.random() < 0.5
    if striped:
        for left, half in ((-10, 18.5), (3, 19)):
            canvas.rectangle(x + left, y - half, x + left + 7, y + half, colour=PALETTE[stripe])
    canvas.ellipse(x + way * 20, y - 5, 5.5, colour=(250, 250, 250))
    canvas.ellipse(x + way * 21, y - 5, 2.8, colour=INK)
    for index in range(3):
        bubble = (x + way * 40 + rng.uniform(-3, 3), y - 10 - index * 14)
        canvas.ellipse(*bubble, 3 + index * 0.4, outline=(215, 240, 255), width=1.3)
    words = f"{with_article(name)} fish" + (f" with {stripe} stripes" if striped else "")
    facing = rng.choice(("", " facing right" if way == 1 else " facing left"))
    return f"{words} {rng.choice(('in the sea', 'underwater', 'in the ocean'))}{facing}"


def snowman(rng: Random, canvas: Canvas) -> str:
    """A snowman with a scarf and, more often than not, a black hat."""
    time, when = choose_time(rng)
    draw_sky(rng, canvas, time, horizon=96)
    draw_ground(rng, canvas, time, kind="snow", top=96)
    x, hat = 64 + rng.uniform(-6, 6), rng.random() < 0.6
    name = rng.choice(("red", "blue", "green", "orange", "purple", "pink", "yellow"))
    for y, radius in ((96, 25), (61, 18.5)):
        canvas.ellipse(x, y, radius, colour=_SNOW_EDGE)
        canvas.ellipse(x, y - 1, radius - 1, colour=_SNOW)
    canvas.ellipse(x, 35, 13.5, colour=_SNOW)
    canvas.rectangle(x - 13, 44, x + 13, 50, colour=PALETTE[name])
    canvas.rectangle(x + 5, 48, x + 11, 64, colour=PALETTE[name])
    for dx in (-5, 5):
        canvas.ellipse(x + dx, 32, 2.2, colour=INK)
    canvas.polygon([(x, 35), (x + 13, 38), (x, 41)], colour=(245, 130, 30))
    for y in (58, 70, 88, 100):
        canvas.ellipse(x - 1, y, 2.2, colour=INK)
    if hat:
        canvas.rectangle(x - 14, 20, x + 14, 24, colour=INK)
        canvas.rectangle(x - 9, 6, x + 9, 22, colour=INK)
    return f"a snowman with {with_article(name)} scarf{' and a black hat' if hat else ''} {when}"


def mushroom(rng: Random, canvas: Canvas) -> str:
    """A mushroom with a coloured cap, with white spots or without."""
    time, when = choose_time(rng)
    draw_sky(rng, canvas, time, horizon=98)
    draw_ground(rng, canvas, time, top=98)
    name = rng.choice(("red", "blue", "purple", "orange", "yellow", "pink", "green"))
    spots, x = rng.random() < 0.6, 64 + rng.uniform(-6, 6)
    canvas.rounded(x - 11, 62, x + 11, 110, radius=8, colour=(245, 232, 210))
    canvas.half_disc(x, 66, 40, colour=PALETTE[name])
    if spots:
        for dx, dy, radius in ((-20, -12, 6.0), (2, -24, 7.0), (22, -11, 5.5), (-2, -7, 4.0)):
            canvas.ellipse(x + dx, 66 + dy, radius, radius * 0.85, colour=(250, 250, 250))
    words = f"{with_article(name)} mushroom{' with white spots' if spots else ''}"
    return f"{words} {rng.choice(('in the grass', 'in a meadow', ''))} {when}"


def ice_cream(rng: Random, canvas: Canvas) -> str:
    """An ice cream cone with one scoop or two."""
    number = rng.choice((1, 2))
    scoops = rng.sample(("pink", "brown", "white", "green", "yellow", "purple", "blue", "orange"), number)
    background = rng.choice([name for name in NAMES if name not in (*scoops, "orange")])
    canvas.fill(jittered(background, rng))
    x, y = 64 + rng.uniform(-4, 4), 66
    if number == 2:
        canvas.ellipse(x, y - 36, 19, colour=SCENE_COLOURS[scoops[1]])
    canvas.ellipse(x, y - 10, 23, colour=SCENE_COLOURS[scoops[0]])
    canvas.polygon([(x - 24, y - 4), (x + 24, y - 4), (x, y + 52)], colour=(215, 155, 85))
    for dx in (-12, 0, 12):
        canvas.line([(x + dx, y - 4), (x + dx * 0.2, y + 45)], colour=(180, 120, 60), width=1.5)
    words = f"{with_article(scoops[0])} ice cream cone"
    if number == 2:
        words = f"an ice cream cone with {with_article(scoops[1])} scoop on top of {with_article(scoops[0])} scoop"
    return on_background(rng, words, background=background)


def rocket(rng: Random, canvas: Canvas) -> str:
    """A rocket in space, now and then with a planet or a moon."""
    _space(rng, canvas)
    nose = rng.choice(("red", "blue", "orange", "green", "purple", "yellow", "pink"))
    body = rng.choice(("white", "gray", "yellow"))
    body = "white" if body == nose else body
    x, y = 62 + rng.uniform(-6, 6), 60 + rng.uniform(-4, 4)
    beside = rng.choice((None, "planet", "moon"))
    if beside:
        tint = (95, 160, 215) if beside == "planet" else (225, 222, 200)
        canvas.ellipse(rng.choice((18, 110)), rng.choice((22, 104)), 15, colour=tint)
    canvas.polygon([(x - 8, y + 30), (x + 8, y + 30), (x, y + 56)], colour=(255, 150, 30))
    canvas.polygon([(x - 4, y + 30), (x + 4, y + 30), (x, y + 45)], colour=(255, 235, 110))
    for side in (-1, 1):
        fin = [(x + side * 11, y + 8), (x + side * 24, y + 32), (x + side * 11, y + 28)]
        canvas.polygon(fin, colour=PALETTE[nose])
    canvas.rectangle(x - 12, y - 18, x + 12, y + 30, colour=PALETTE[body])
    canvas.polygon([(x - 12, y - 17), (x, y - 44), (x + 12, y - 17)], colour=PALETTE[nose])
    canvas.ellipse(x, y - 4, 6.5, colour=(70, 160, 230), outline=(90, 90, 100), width=1.5)
    words = f"{with_article(body)} rocket with {with_article(nose)} nose in space"
    return f"{words} with a {beside}" if beside else words


def planet(rng: Random, canvas: Canvas) -> str:
    """A planet in space, with a ring or without."""
    _space(rng, canvas)
    name = rng.choice(("red", "orange", "blue", "green", "purple", "yellow", "pink", "white", "gray"))
    ring = rng.choice([other for other in ("gold", "white", "pink", "cyan") if other != name])
    ringed, x, y = rng.random() < 0.5, 64 + rng.uniform(-4, 4), 64 + rng.uniform(-4, 4)
    if ringed:
        canvas.ellipse(x, y, 52, 14, outline=SCENE_COLOURS[ring], width=5)
    canvas.ellipse(x, y, 31, colour=SCENE_COLOURS[name])
    canvas.ellipse(x - 8, y - 12, 11, 5, colour=lighter(SCENE_COLOURS[name], 30))
    if not ringed:
        return f"{with_article(name)} planet in space"
    canvas.arc(x, y, 52, 14, start=0, end=180, colour=SCENE_COLOURS[ring], width=5)
    return f"{with_article(name)} planet with {with_article(ring)} ring in space"


def _space(rng: Random, canvas: Canvas) -> None:
    canvas.gradient((10, 8, 30), (28, 16, 60))
    draw_stars(rng, canvas, count=20, bottom=SIZE)
