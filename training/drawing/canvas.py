"""A canvas of 128 x 128 units, drawn larger by a whole factor and averaged down, so that edges come out smooth."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from training.drawing.palette import Colour
from training.drawing.styles import Style

SIZE = 128
Point = tuple[float, float]


class Canvas:
    """Draws with float coordinates in units of 1/128 of the picture; (0, 0) is the top left corner.

    scale: pixels a unit while drawing. 3 gives smooth edges, 1 is four times faster and does for thumbnails.
    """

    def __init__(self, scale: int = 3) -> None:
        self.scale = scale
        self._image = Image.new("RGB", (SIZE * scale, SIZE * scale))
        self._draw = ImageDraw.Draw(self._image)

    def fill(self, colour: Colour) -> None:
        """Paint everything in one colour."""
        self._draw.rectangle((0, 0, SIZE * self.scale, SIZE * self.scale), fill=colour)

    def gradient(self, top: Colour, bottom: Colour, *, start: float = 0, end: float = SIZE) -> None:
        """Paint rows start..end in colours from `top` to `bottom`."""
        rows = int((end - start) * self.scale)
        share = np.linspace(0, 1, rows)[:, None, None]
        colours = np.array(top) * (1 - share) + np.array(bottom) * share
        band = np.broadcast_to(colours, (rows, SIZE * self.scale, 3)).round().astype(np.uint8)
        self._image.paste(Image.fromarray(band), (0, int(start * self.scale)))

    def ellipse(
        self,
        x: float,
        y: float,
        radius: float,
        height: float | None = None,
        *,
        colour: Colour | None = None,
        outline: Colour | None = None,
        width: float = 0,
    ) -> None:
        """An ellipse about (x, y); `height` is its vertical radius, that of a circle when left out."""
        box = self._box(x, y, radius, radius if height is None else height)
        self._draw.ellipse(box, fill=colour, outline=outline, width=int(width * self.scale))

    def rectangle(self, left: float, top: float, right: float, bottom: float, *, colour: Colour) -> None:
        """A filled rectangle."""
        s = self.scale
        self._draw.rectangle((left * s, top * s, right * s, bottom * s), fill=colour)

    def rounded(
        self, left: float, top: float, right: float, bottom: float, *, radius: float, colour: Colour
    ) -> None:
        """A filled rectangle with round corners."""
        s = self.scale
        self._draw.rounded_rectangle((left * s, top * s, right * s, bottom * s), radius * s, fill=colour)

    def polygon(self, points: Sequence[Point], *, colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=colour)

    def line(self, points: Sequence[Point], *, colour: Colour, width: float) -> None:
        """A line through the points."""
        scaled = [(x * self.scale, y * self.scale) for x, y in points]
        self._draw.line(scaled, fill=colour, width=max(1, int(width * self.scale)), joint="curve")

    def arc(
        self,
        x: float,
        y: float,
        radius: float,
        height: float,
        *,
        start: float,
        end: float,
        colour: Colour,
        width: float,
    ) -> None:
        """Part of an ellipse's outline, from angle `start` to `end` in degrees clockwise from the right."""
        box = self._box(x, y, radius, height)
        self._draw.arc(box, start, end, fill=colour, width=int(width * self.scale))

    def half_disc(self, x: float, y: float, radius: float, *, colour: Colour) -> None:
        """The upper half of a disc."""
        self._draw.chord(self._box(x, y, radius, radius), 180, 360, fill=colour)

    def picture(self, style: Style | None = None) -> Image.Image:
        """What has been drawn, in a style or as it is, 128 x 128, RGB."""
        image = style(self._image) if style else self._image
        return image.resize((SIZE, SIZE), Image.Resampling.BOX)

    def _box(self, x: float, y: float, radius: float, height: float) -> tuple[float, float, float, float]:
        s = self.scale
        return (x - radius) * s, (y - height) * s, (x + radius) * s, (y + height) * s
