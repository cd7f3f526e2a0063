"""Pictures with captions from a seeded random generator: shapes on plain backgrounds, and scenes. Knows no tensors."""

from training.drawing.canvas import SIZE, Canvas
from training.drawing.mixture import BALANCED, Example, Mixture, draw_example

__all__ = ["BALANCED", "SIZE", "Canvas", "Example", "Mixture", "draw_example"]
