"""Shapes on a plain background: one, two in a relation, one inside another, several of a kind."""

from collections.abc import Callable
from random import Random

from training.drawing.canvas import Canvas
from training.drawing.palette import NAMES, jittered, other_than
from training.drawing.phrases import (
    RELATION_WORDS,
    RELATIONS,
    UNORDERED_WORDS,
    on_background,
    place_words,
    thing,
    with_article,
)
from training.drawing.shapes import SHAPES, draw_shape
from training.drawing.split import Split, split_of

PLACES = {
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
    "top": (0, -1),
    "bottom": (0, 1),
    "left": (-1, 0),
    "right": (1, 0),
}
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
NUMBERS = {2: "two", 3: "three", 4: "four"}

_RADII = {"small": (13, 17), "medium": (25, 32), "large": (42, 49)}
_PLACED_RADII = {"small": (13, 17), "medium": (20, 26)}
_PAIR_RADII = {"small": (10, 13), "medium": (18, 23), "large": (25, 28)}
_ROWS = {
    2: ((-28, 0), (28, 0)),
    3: ((-40, 0), (0, 0), (40, 0)),
    4: ((-28, -28), (28, -28), (-28, 28), (28, 28)),
}
_ROW_RADII = {2: 21, 3: 16, 4: 19}
_PAIR_DISTANCE = 31

Arrangement = Callable[[Random, Canvas, Split], str]
"""Draws on a fresh canvas, from combinations of one split, and returns the caption."""


def one_shape(rng: Random, canvas: Canvas, split: Split = Split.TRAIN) -> str:
    """One shape; in training also small, large, or away from the middle."""
    while True:
        colour, shape, background = rng.choice(NAMES), rng.choice(SHAPES), rng.choice(NAMES)
        if colour != background and split_of(colour, shape, background) == split:
            break
    training = split == Split.TRAIN
    size = rng.choices(("small", "medium", "large"), (0.25, 0.56, 0.19))[0] if training else "medium"
    x, y, reach, where = 64 + rng.uniform(-4, 4), 64 + rng.uniform(-4, 4), _RADII[size], ""
    if training and size != "large" and rng.random() < 0.25:
        place = rng.choice(list(PLACES))
        distance = 34 if size == "medium" else 40
        x = 64 + PLACES[place][0] * distance + rng.uniform(-3, 3)
        y = 64 + PLACES[place][1] * distance + rng.uniform(-3, 3)
        reach, where = _PLACED_RADII[size], " " + place_words(rng, place)
    canvas.fill(jittered(background, rng))
    draw_shape(canvas, shape, x, y, rng.uniform(*reach), colour=jittered(colour, rng))
    return on_background(
        rng, thing(rng, size=size, colour=colour, shape=shape) + where, background=background
    )


def two_shapes(rng: Random, canvas: Canvas, split: Split = Split.TRAIN) -> str:
    """Two shapes, one to the left of, right of, above or below the other."""
    training = split == Split.TRAIN
    while True:
        first, second, background = rng.choice(NAMES), rng.choice(NAMES), rng.choice(NAMES)
        shape, other = rng.choice(SHAPES), rng.choice(SHAPES)
        if background in (first, second):
            continue
        if first == second and (shape == other or not training or rng.random() < 0.8):
            continue
        if split_of(first, shape, second, other) == split:
            break
    relation = rng.choice(RELATIONS)
    sizes = [rng.choices(("small", "medium", "large"), (0.2, 0.6, 0.2))[0] for _ in range(2)]
    if not training or rng.random() > 0.3:
        sizes = ["medium", "medium"]
    canvas.fill(jittered(background, rng))
    dx, dy = (step * _PAIR_DISTANCE for step in DIRECTIONS[relation])
    for sign, size, colour, kind in ((1, sizes[0], first, shape), (-1, sizes[1], second, other)):
        x, y = 64 + sign * dx + rng.uniform(-3, 3), 64 + sign * dy + rng.uniform(-3, 3)
        draw_shape(canvas, kind, x, y, rng.uniform(*_PAIR_RADII[size]), colour=jittered(colour, rng))
    words = rng.choice(RELATION_WORDS[relation])
    if relation == "left" and training and rng.random() < 0.3:
        words = rng.choice(UNORDERED_WORDS)
    one = thing(rng, size=sizes[0], colour=first, shape=shape)
    two = thing(rng, size=sizes[1], colour=second, shape=other)
    return on_background(rng, f"{one} {words} {two}", background=background)


def nested(rng: Random, canvas: Canvas, split: Split = Split.TRAIN) -> str:
    """A small shape inside a large one."""
    while True:
        inner, outer, background = rng.sample(NAMES, 3)
        shape, around = (
            rng.choice(SHAPES),
            rng.choice(("circle", "circle", "square", "square", "diamond", "heart")),
        )
        if split_of("in", inner, shape, outer, around) == split:
            break
    x, y = 64 + rng.uniform(-3, 3), 64 + rng.uniform(-3, 3)
    canvas.fill(jittered(background, rng))
    draw_shape(canvas, around, x, y, rng.uniform(44, 50), colour=jittered(outer, rng))
    draw_shape(canvas, shape, x, y, rng.uniform(15, 19), colour=jittered(inner, rng))
    words = f"{with_article(inner)} {shape} inside {with_article(outer)} {around}"
    return on_background(rng, words, background=background)


def several(rng: Random, canvas: Canvas, split: Split = Split.TRAIN) -> str:
    """Two, three or four of a kind."""
    while True:
        colour, shape, number = rng.choice(NAMES), rng.choice(SHAPES), rng.choice((2, 3, 4))
        background = other_than(rng, colour)
        if split_of("n", colour, shape, background) == split:
            break
    radius = _ROW_RADII[number] * rng.uniform(0.9, 1.1)
    canvas.fill(jittered(background, rng))
    paint = jittered(colour, rng)
    for dx, dy in _ROWS[number]:
        x, y = 64 + dx + rng.uniform(-2, 2), 64 + dy + rng.uniform(-2, 2)
        draw_shape(canvas, shape, x, y, radius, colour=paint)
    return on_background(rng, f"{NUMBERS[number]} {colour} {shape}s", background=background)


ARRANGEMENTS: dict[str, Arrangement] = {
    "one": one_shape,
    "two": two_shapes,
    "inside": nested,
    "several": several,
}
