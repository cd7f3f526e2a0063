"""Reads pictures by program: which things lie on the background, of what colour and shape, and where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imaging.shapes.outlines import SHAPES, outline
from imaging.shapes.palette import PALETTE

Pixels = NDArray[np.float64]
"""[H, W, 3], red, green, blue, 0..1."""
Area = NDArray[np.bool_]
"""[H, W], true where a thing is."""

BORDER = 5
APART = 16.0
"""Colours further apart than this in CIELAB are clearly two."""
SMALLEST = 0.002
"""Things that cover less of the picture than this are specks."""
GRID = 64


@dataclass(frozen=True, eq=False)
class Thing:
    """Something on the background. x, y: its middle, and area: what it covers, as shares of the picture."""

    colour: str
    shape: str
    x: float
    y: float
    area: float


@dataclass(frozen=True, eq=False)
class Reading:
    """What a picture shows: the background's colour, and the things on it, the largest first."""

    background: str
    things: tuple[Thing, ...]


def read_picture(pixels: Pixels) -> Reading:
    """Read a picture of plain things on a plain background."""
    lab = to_lab(pixels)
    border = np.concatenate(
        [
            lab[:BORDER].reshape(-1, 3),
            lab[-BORDER:].reshape(-1, 3),
            lab[:, :BORDER].reshape(-1, 3),
            lab[:, -BORDER:].reshape(-1, 3),
        ]
    )
    background = np.median(border, axis=0)
    distance = np.linalg.norm(lab - background, axis=-1)
    things = [_thing(lab, distance, area) for area in connected(distance > APART) if area.mean() > SMALLEST]
    return Reading(nearest_colour(background), tuple(sorted(things, key=lambda thing: -thing.area)))


def _thing(lab: Pixels, distance: NDArray[np.float64], area: Area) -> Thing:
    """A thing's colour is that of its inside; its edge is where the picture is half background."""
    contrast = float(np.quantile(distance[area], 0.8))
    colour = np.median(lab[area & (distance > 0.8 * contrast)], axis=0)
    body = area & (distance > 0.5 * contrast)
    rows, columns = np.nonzero(body)
    height, width = area.shape
    return Thing(
        nearest_colour(colour),
        nearest_shape(body),
        float(columns.mean() + 0.5) / width,
        float(rows.mean() + 0.5) / height,
        float(body.mean()),
    )


def to_lab(pixels: Pixels) -> Pixels:
    """sRGB, cut to 0..1, to CIELAB (white point D65)."""
    pixels = np.clip(pixels, 0, 1)
    linear = np.where(pixels > 0.04045, ((pixels + 0.055) / 1.055) ** 2.4, pixels / 12.92)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def nearest_colour(lab: Pixels) -> str:
    """The palette's name for a colour in CIELAB."""
    names, points = _palette()
    return names[int(np.linalg.norm(points - lab, axis=1).argmin())]


@cache
def _palette() -> tuple[tuple[str, ...], Pixels]:
    return tuple(PALETTE), to_lab(np.array(list(PALETTE.values())) / 255)


def connected(mask: Area) -> list[Area]:
    """The parts of `mask` whose pixels touch side by side."""
    left = set(map(tuple, np.argwhere(mask).tolist()))
    parts = []
    while left:
        front = [left.pop()]
        part = np.zeros_like(mask)
        while front:
            row, column = front.pop()
            part[row, column] = True
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left:
                    left.remove(near)
                    front.append(near)
        parts.append(part)
    return parts


def nearest_shape(body: Area) -> str:
    """The shape whose outline, of the same area about the same middle, overlaps `body` most."""
    found = _centred(body)

    def overlap(shape: str) -> float:
        wanted = _template(shape)
        return float((found & wanted).sum() / (found | wanted).sum())

    return max(SHAPES, key=overlap)


@cache
def _template(shape: str) -> Area:
    image = Image.new("1", (400, 400))
    ImageDraw.Draw(image).polygon(outline(shape, 200, 200, 120), fill=1)
    return _centred(np.asarray(image))


def _centred(body: Area) -> Area:
    """The lit part with its middle in the middle of a small square, of which it covers a sixth.

    Its box would not do: how far a star's points reach depends on how sharp the picture is.
    """
    rows, columns = np.nonzero(body)
    half = 0.5 * np.sqrt(6 * body.sum())
    x, y = columns.mean() + 0.5, rows.mean() + 0.5
    image = Image.fromarray(body.astype(np.uint8) * 255)
    box = (x - half, y - half, x + half, y + half)
    square = image.transform((GRID, GRID), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return np.asarray(square) > 127
