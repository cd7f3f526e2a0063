"""The six shapes: their outlines about a centre, for drawing and for telling them apart."""

import math

Point = tuple[float, float]
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond")


def outline(shape: str, x: float, y: float, radius: float) -> list[Point]:
    """The corner points of `shape` about (x, y). A circle comes as a polygon of 64 corners."""
    return [(x + radius * dx, y + radius * dy) for dx, dy in _UNIT_OUTLINES[shape]]


def _circle() -> list[Point]:
    angles = [2 * math.pi * step / 64 for step in range(64)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _star() -> list[Point]:
    points = []
    for corner in range(10):
        reach = 0.46 if corner % 2 else 1.12
        angle = math.pi * corner / 5
        points.append((reach * math.sin(angle), 0.05 - reach * math.cos(angle)))
    return points


def _heart() -> list[Point]:
    points = []
    for step in range(48):
        t = 2 * math.pi * step / 48
        height = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((1.02 * math.sin(t) ** 3, -0.08 - 0.064 * height))
    return points


_UNIT_OUTLINES: dict[str, list[Point]] = {
    "circle": _circle(),
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0, -1), (1.02, 0.82), (-1.02, 0.82)],
    "star": _star(),
    "heart": _heart(),
    "diamond": [(0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)],
}
