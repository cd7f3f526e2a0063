"""Curves as a picture: points joined by lines, axes with round numbers, a legend; on white."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from imaging.checks import check_size

Points = Sequence[tuple[float, float]]
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
_INK, _GRID = "#222222", "#dddddd"
_TICKS = 6
_LARGEST = 1e300
_LONGEST_NAME = 40
_ROUND_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axes:
    """What stands at the axes, and the size of the picture in pixels."""

    x_name: str
    y_name: str
    width: int = 640
    height: int = 480


@dataclass(frozen=True)
class _Scale:
    """Values from low to high as places in pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def draw_curves(curves: Mapping[str, Points], axes: Axes) -> Tensor:
    """The picture [1, H, W, 3] float32, 0..1, of curves by name, each joined in the order of its points.

    Raises ValueError for no points, for values that are not finite, and for pictures too small to draw in.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points or not all(abs(value) <= _LARGEST for point in points for value in point):
        raise ValueError(f"A curve needs one point at least, and finite numbers, {_LARGEST:g} at most.")
    check_size(axes.width, axes.height, 1, "Ask for a smaller picture.")
    size = max(10, axes.height // 36)
    font, line = ImageFont.load_default(size), size * 1.5
    left, bottom = 5 * line, axes.height - 3 * line
    right, top = axes.width - line, line * (1 + len(curves))
    if right - left < line or bottom - top < line:
        raise ValueError(f"{axes.width}x{axes.height} pixels are too few for these curves; ask for more.")
    x_ticks, y_ticks = ticks([x for x, _ in points]), ticks([y for _, y in points])
    x_scale = _Scale(x_ticks[0], x_ticks[-1], left, right)
    y_scale = _Scale(y_ticks[0], y_ticks[-1], bottom, top)
    canvas = Image.new("RGB", (axes.width, axes.height), "white")
    draw = ImageDraw.Draw(canvas)
    for value in x_ticks:
        draw.line([(x_scale(value), bottom), (x_scale(value), top)], fill=_GRID)
        draw.text((x_scale(value), bottom + line / 2), f"{value:g}", fill=_INK, font=font, anchor="mm")
    for value in y_ticks:
        draw.line([(left, y_scale(value)), (right, y_scale(value))], fill=_GRID)
        draw.text((left - line / 2, y_scale(value)), f"{value:g}", fill=_INK, font=font, anchor="rm")
    draw.text(
        ((left + right) / 2, bottom + 2 * line),
        axes.x_name[:_LONGEST_NAME],
        fill=_INK,
        font=font,
        anchor="mm",
    )
    draw.text((line / 2, line / 2), axes.y_name[:_LONGEST_NAME], fill=_INK, font=font, anchor="lm")
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_scale(x), y_scale(y)) for x, y in curve]
        draw.line(places, fill=colour, width=2)
        for x, y in places:
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
        height = line * (number + 1)
        draw.line([(right - 3 * line, height), (right - 2 * line, height)], fill=colour, width=3)
        draw.text((right - 3.5 * line, height), name[:_LONGEST_NAME], fill=_INK, font=font, anchor="rm")
    return torch.from_numpy(np.asarray(canvas).astype(np.float32) / 255.0)[None]


def ticks(values: Sequence[float]) -> list[float]:
    """Round numbers, evenly spaced, that enclose the values: two at least."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(high), 1):
        margin = max(0.5, 1e-3 * abs(high))
        low, high = low - margin, high + margin
    rough = (high - low) / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _ROUND_STEPS if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
