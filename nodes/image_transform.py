"""Nodes that cut, frame, turn and join pictures."""

from typing import Annotated

import torch

from diffusion.types import Image, Mask
from graph import Choice, Range, node
from imaging import canvas
from imaging.checks import MAX_SIDE, picture
from nodes.pictures import ImageAndMask

Place = Annotated[int, Range(0, MAX_SIDE, step=1)]
Side = Annotated[int, Range(1, MAX_SIDE, step=1)]
Padding = Annotated[int, Range(0, MAX_SIDE, step=8)]
_TURNS = ("none", "90 degrees", "180 degrees", "270 degrees")
_FLIPS = ("x-axis: vertically", "y-axis: horizontally")


@node("ImageCrop", title="Image Crop", category="image/transform")
def image_crop(*, image: Image, width: Side = 512, height: Side = 512, x: Place = 0, y: Place = 0) -> Image:
    """Cut a part out of pictures. It ends where they do, so it may be smaller than asked for.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        width: Of the part, in pixels.
        height: Of the part, in pixels.
        x: Its left edge; beyond the picture it is the last column.
        y: Its upper edge; beyond the picture it is the last row.

    Outputs:
        IMAGE: The part, [B, height or less, width or less, C].
    """
    return Image(canvas.crop(picture(image, "image"), x, y, width, height))


@node("ImagePadForOutpaint", title="Pad Image for Outpainting", category="image")
def image_pad_for_outpaint(
    *,
    image: Image,
    left: Padding = 0,
    top: Padding = 0,
    right: Padding = 0,
    bottom: Padding = 0,
    feathering: Annotated[int, Range(0, MAX_SIDE, step=1)] = 40,
) -> ImageAndMask:
    """Put pictures on a larger grey canvas, with a mask of what is to be painted.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        left: Pixels to add on the left.
        top: Pixels to add above.
        right: Pixels to add on the right.
        bottom: Pixels to add below.
        feathering: Over how many pixels inside the picture the mask falls to 0; not at all when the picture is less
            than twice as wide or high.

    Outputs:
        IMAGE: The pictures, [B, H + top + bottom, W + left + right, C], grey where nothing is yet.
        MASK: 1 there, [1, H + top + bottom, W + left + right].
    """
    padded = canvas.pad_for_outpainting(picture(image, "image"), left, top, right, bottom, feathering)
    return ImageAndMask(Image(padded[0]), Mask(padded[1]))


@node("ImageFlip", title="Flip Image", category="image/transform")
def image_flip(*, image: Image, flip_method: Annotated[str, Choice(_FLIPS)] = _FLIPS[0]) -> Image:
    """Mirror pictures.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        flip_method: vertically exchanges top and bottom, horizontally left and right.

    Outputs:
        IMAGE: The pictures, [B, H, W, C].
    """
    return Image(torch.flip(picture(image, "image"), dims=[1 + _FLIPS.index(flip_method)]))


@node("ImageRotate", title="Rotate Image", category="image/transform")
def image_rotate(*, image: Image, rotation: Annotated[str, Choice(_TURNS)] = "none") -> Image:
    """Turn pictures clockwise.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        rotation: How far.

    Outputs:
        IMAGE: The pictures, [B, H, W, C], or [B, W, H, C] after a quarter turn.
    """
    return Image(canvas.rotate(picture(image, "image"), _TURNS.index(rotation)))


@node("ImageStitch", title="Image Stitch", category="image/transform")
def image_stitch(
    *,
    image1: Image,
    direction: Annotated[str, Choice(canvas.DIRECTIONS)] = "right",
    match_image_size: bool = True,
    spacing_width: Annotated[int, Range(0, 1024, step=2)] = 0,
    spacing_color: Annotated[str, Choice(tuple(canvas.SPACING_COLOURS))] = "white",
    image2: Image | None = None,
) -> Image:
    """Lay one picture beside another. The shorter batch goes on with its last picture.

    Inputs:
        image1: The first picture, [B, H, W, 1, 3 or 4].
        direction: On which side of it the second one lies.
        match_image_size: Scale the second one to the side they share; otherwise the smaller one is centred.
        spacing_width: Pixels between them, made even.
        spacing_color: Of what is between them.
        image2: The second picture; without it the first comes out as it is.

    Outputs:
        IMAGE: Both as one, [B, H', W', C].
    """
    picture(image1, "image1")
    if image2 is None:
        return image1
    second = picture(image2, "image2")
    return Image(
        canvas.stitch(
            image1,
            second,
            direction,
            match_size=match_image_size,
            spacing=spacing_width,
            color=spacing_color,
        )
    )


@node("ImageGrid", title="Image Grid", category="image/transform")
def image_grid(
    *,
    images: list[Image],
    columns: Annotated[int, Range(0, 4096, step=1)] = 0,
    rows: Annotated[int, Range(0, 4096, step=1)] = 0,
    padding: Annotated[int, Range(0, 1024, step=1)] = 2,
    color: Annotated[int, Range(0, 0xFFFFFF, step=1)] = 0,
) -> Image:
    """Lay pictures out row by row as one, as the original scripts save their grids.

    One picture alone gets no frame.

    Inputs:
        images: The pictures, one batch or a list of them, all of one size.
        columns: Pictures in a row, the scripts' n_rows. 0: as many as rows need; if that is 0 too, as many as the
            first batch holds.
        rows: How many rows there are; 0 for as many as are needed. Places without a picture stay empty.
        padding: Pixels around each picture.
        color: Of those pixels, 0xRRGGBB as a number; 0 is black.

    Outputs:
        IMAGE: The grid, [1, rows * (H + padding) + padding, columns * (W + padding) + padding, C].
    """
    batches = [picture(batch, "images") for batch in images]
    if not batches:
        raise ValueError(
            "images is an empty list: a grid needs one picture at least. Look at the node before."
        )
    return Image(canvas.make_grid(batches, columns=columns, rows=rows, padding=padding, color=color))
