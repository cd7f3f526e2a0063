"""Which pictures are drawn how often, and the one function that draws an example."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from PIL import Image

from training.drawing import outdoors, still
from training.drawing.arrangements import ARRANGEMENTS
from training.drawing.canvas import Canvas
from training.drawing.phrases import opened
from training.drawing.split import Split
from training.drawing.styles import Style

Scene = Callable[[Random, Canvas], str]
"""Draws on a fresh canvas and returns the caption."""

SCENES: Mapping[str, Scene] = {
    "house": outdoors.house,
    "sailboat": outdoors.sailboat,
    "mountains": outdoors.mountains,
    "trees": outdoors.trees,
    "city": outdoors.city,
    "car": outdoors.car,
    "cactus": outdoors.cactus,
    "rainbow": outdoors.rainbow,
    "balloon": outdoors.balloon,
    "face": still.face,
    "cat": still.cat,
    "flower": still.flower,
    "fish": still.fish,
    "snowman": still.snowman,
    "mushroom": still.mushroom,
    "ice cream": still.ice_cream,
    "rocket": still.rocket,
    "planet": still.planet,
}
_SCENE_SHARES = {"house": 3.0, "city": 2.5, "cat": 2.5, "sailboat": 2.5, "rainbow": 0.8, "cactus": 1.0}
_USUAL_SCENE_SHARE = 1.7


@dataclass(frozen=True)
class Mixture:
    """How often each kind is drawn, in shares of one."""

    one: float
    two: float
    inside: float
    several: float
    scene: float


BALANCED = Mixture(one=0.20, two=0.34, inside=0.04, several=0.06, scene=0.36)


@dataclass(frozen=True, eq=False)
class Example:
    """A picture, 128 x 128 RGB, with what it shows. kind: one, two, inside, several, or a scene's name."""

    caption: str
    picture: Image.Image
    kind: str


def draw_example(
    rng: Random,
    *,
    mixture: Mixture = BALANCED,
    kind: str | None = None,
    scale: int = 3,
    style: Style | None = None,
) -> Example:
    """Draw one example of the training split; of `kind`, or of a kind chosen by `mixture`."""
    kind = kind or choose_kind(rng, mixture)
    canvas = Canvas(scale)
    caption = (
        ARRANGEMENTS[kind](rng, canvas, Split.TRAIN) if kind in ARRANGEMENTS else SCENES[kind](rng, canvas)
    )
    return Example(opened(rng, " ".join(caption.split())), canvas.picture(style), kind)


def choose_kind(rng: Random, mixture: Mixture) -> str:
    """A random kind by the mixture's shares."""
    shares = (mixture.one, mixture.two, mixture.inside, mixture.several, mixture.scene)
    kind = rng.choices((*ARRANGEMENTS, "scene"), shares)[0]
    if kind != "scene":
        return kind
    return rng.choices(list(SCENES), [_SCENE_SHARES.get(name, _USUAL_SCENE_SHARE) for name in SCENES])[0]
