"""Draws the six shapes."""

from imaging.shapes.outlines import SHAPES, outline
from training.drawing.canvas import Canvas
from training.drawing.palette import Colour

__all__ = ["SHAPES", "draw_shape", "outline"]


def draw_shape(canvas: Canvas, shape: str, x: float, y: float, radius: float, *, colour: Colour) -> None:
    """Draw `shape` in one colour."""
    canvas.polygon(outline(shape, x, y, radius), colour=colour)
