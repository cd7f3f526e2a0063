"""Styles that a drawn picture can be given, each a function of the large picture before it is made small."""

from collections.abc import Callable

from PIL import Image, ImageChops, ImageFilter

from training.drawing.palette import INK

Style = Callable[[Image.Image], Image.Image]

_BRUSH = 11
_CONTRAST = 40


def outlined(picture: Image.Image) -> Image.Image:
    """Ink along every edge, as in a cartoon: wherever colours within the brush's reach differ clearly."""
    brightest = picture.filter(ImageFilter.MaxFilter(_BRUSH))
    darkest = picture.filter(ImageFilter.MinFilter(_BRUSH))
    red, green, blue = ImageChops.difference(brightest, darkest).split()
    contrast = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    inked = picture.copy()
    inked.paste(INK, mask=contrast.point([255 if value > _CONTRAST else 0 for value in range(256)]))
    return inked


STYLES: dict[str, Style] = {"outline": outlined}
