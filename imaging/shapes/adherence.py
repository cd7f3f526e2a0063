"""Whether a picture shows the shapes that its prompt asks for, read by program."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imaging.shapes.outlines import SHAPES
from imaging.shapes.palette import NAMES
from imaging.shapes.reading import Pixels, Reading, Thing, read_picture

RELATION_WORDS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "above", "on top of", "over"),
    "below": ("below", "below", "under", "beneath"),
}
UNORDERED_WORDS = ("and", "next to", "beside")
"""Between two things of which the first is drawn to the left."""
SPECK = 0.2
"""A third thing smaller than this share of the smaller one asked for is a blemish, not a thing."""

_WORDS = {words: relation for relation, all_words in RELATION_WORDS.items() for words in all_words}
_WORDS |= dict.fromkeys(UNORDERED_WORDS, "left")
_THING = re.compile(rf"\b({'|'.join(NAMES)}) ({'|'.join(SHAPES)})\b")
_COLOUR = re.compile(rf"\b({'|'.join(NAMES)})\b")


@dataclass(frozen=True)
class Asked:
    """What a prompt about shapes asks for. things: (colour, shape). relation: of the first to the second."""

    background: str
    things: tuple[tuple[str, str], ...]
    relation: str | None


@dataclass(frozen=True)
class Verdict:
    """What of a prompt a picture shows. relation is true where none was asked for."""

    background: bool
    colours: bool
    shapes: bool
    relation: bool

    @property
    def right(self) -> bool:
        """Everything is as asked."""
        return self.background and self.colours and self.shapes and self.relation

    @property
    def share(self) -> float:
        """How much is as asked, 0..1."""
        return (self.background + self.colours + self.shapes + self.relation) / 4


def check_pixels(pixels: Pixels, prompt: str) -> Verdict:
    """What of the prompt a picture shows. Raises ValueError as `parse_prompt`."""
    asked, reading = parse_prompt(prompt), read_picture(pixels)
    background = reading.background == asked.background
    if len(reading.things) < len(asked.things) or _has_more(reading, len(asked.things)):
        return Verdict(background, colours=False, shapes=False, relation=False)
    found = list(reading.things[: len(asked.things)])
    if len(found) == 2 and found[0].colour != asked.things[0][0]:
        found.reverse()
    colours = all(thing.colour == colour for thing, (colour, _) in zip(found, asked.things, strict=True))
    shapes = all(thing.shape == shape for thing, (_, shape) in zip(found, asked.things, strict=True))
    relation = asked.relation is None or (colours and _relation(*found) == asked.relation)
    return Verdict(background, colours, shapes, relation)


def parse_prompt(prompt: str) -> Asked:
    """Read a prompt about one shape, or two in a relation, on a background of a colour.

    Raises ValueError when it is none.
    """
    things = list(_THING.finditer(prompt))
    backgrounds = list(_COLOUR.findall(_THING.sub("", prompt)))
    if len(things) not in (1, 2) or len(backgrounds) != 1:
        raise ValueError(f"not a prompt about one or two shapes on a background of a colour: {prompt!r}")
    asked = tuple((match[1], match[2]) for match in things)
    if len(things) == 1:
        return Asked(backgrounds[0], asked, None)
    between = re.sub(
        r"\b(an?|small|little|tiny|large|big|huge)\b", "", prompt[things[0].end() : things[1].start()]
    )
    relation = _WORDS.get(" ".join(between.split()))
    if relation is None:
        raise ValueError(f"no relation known between the two shapes in {prompt!r}")
    return Asked(backgrounds[0], asked, relation)


def _has_more(reading: Reading, number: int) -> bool:
    things = reading.things
    return len(things) > number and things[number].area > SPECK * things[number - 1].area


def _relation(first: Thing, second: Thing) -> str:
    dx, dy = first.x - second.x, first.y - second.y
    if abs(dx) > abs(dy):
        return "left" if dx < 0 else "right"
    return "above" if dy < 0 else "below"
