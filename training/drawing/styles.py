"""Styles that a drawn picture can be given, each a function of the large picture before it is made small."""

from collections.abc import Callable

from PIL import Image, ImageChops, ImageFilter

from training.drawing.palette import INK

Style = Callable[[Image.Image], Image.Image]

_REACH = 5
_CONTRAST = 40


def outlined(picture: Image.Image) -> Image.Image:
    """Ink along every edge, as in a cartoon: wherever colours within the brush's reach differ clearly."""
    brightest = darkest = picture
    for _ in range(_REACH):  # one wide filter gives the same picture four times slower
        brightest = brightest.filter(ImageFilter.MaxFilter(3))
        darkest = darkest.filter(ImageFilter.MinFilter(3))
    red, green, blue = ImageChops.difference(brightest, darkest).split()
    contrast = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    inked = picture.copy()
    inked.paste(INK, mask=contrast.point([255 if value > _CONTRAST else 0 for value in range(256)]))
    return inked


STYLES: dict[str, Style] = {"outline": outlined}
