"""Reads pictures by program: which things lie on the background, of what colour and shape, and where."""

from imaging.shapes.reading import Pixels, Reading, Thing, read_picture, to_lab

__all__ = ["Pixels", "Reading", "Thing", "read_picture", "to_lab"]
