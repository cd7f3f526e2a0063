"""Nodes for batches of pictures, and for what is known of them without looking."""

from typing import Annotated, NamedTuple

import torch

from diffusion.types import Image
from graph import Range, node
from imaging.channels import filled, with_channels
from imaging.checks import MAX_SIDE, check_size, picture
from imaging.scale import resize

Side = Annotated[int, Range(1, MAX_SIDE, step=1)]
BatchSize = Annotated[int, Range(1, 4096, step=1)]
_FEWER = "Use a smaller size or batch."


class ImageSize(NamedTuple):
    """A batch of pictures in numbers."""

    width: int
    height: int
    batch_size: int


@node("EmptyImage", title="Empty Image", category="image")
def empty_image(
    *,
    width: Side = 512,
    height: Side = 512,
    batch_size: BatchSize = 1,
    color: Annotated[int, Range(0, 0xFFFFFF, step=1)] = 0,
) -> Image:
    """Pictures of one colour.

    Inputs:
        width: Of the pictures, in pixels.
        height: Of the pictures, in pixels.
        batch_size: How many.
        color: 0xRRGGBB as a number: 16711680 is red, 0 black.

    Outputs:
        IMAGE: The pictures, [batch_size, height, width, 3] float32.
    """
    check_size(width, height, batch_size, _FEWER)
    return Image(filled(batch_size, height, width, color))


@node("GetImageSize", title="Get Image Size", category="image")
def get_image_size(*, image: Image) -> ImageSize:
    """The size of pictures, and how many there are.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].

    Outputs:
        width: In pixels.
        height: In pixels.
        batch_size: How many pictures.
    """
    batch, height, width = picture(image, "image").shape[:3]
    return ImageSize(width, height, batch)


@node("ImageBatch", title="Batch Images", category="image")
def image_batch(*, image1: Image, image2: Image) -> Image:
    """One batch after another.

    Inputs:
        image1: The first pictures, [B1, H, W, 1, 3 or 4].
        image2: The others, [B2, ...]; scaled bilinearly, and cut around the centre, to the size of the first.

    Outputs:
        IMAGE: All of them, [B1 + B2, H, W, C]; opaque alpha is added where only one has it.
    """
    first, second = picture(image1, "image1"), picture(image2, "image2")
    height, width = first.shape[1:3]
    check_size(width, height, len(first) + len(second), _FEWER)
    if second.shape[1:3] != (height, width):
        second = resize(second, width, height, "bilinear", "center")
    channels = max(first.shape[-1], second.shape[-1])
    return Image(torch.cat((with_channels(first, channels), with_channels(second, channels))))


@node("RepeatImageBatch", title="Repeat Image Batch", category="image/batch")
def repeat_image_batch(*, image: Image, amount: BatchSize = 1) -> Image:
    """The same pictures several times over.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        amount: How many times.

    Outputs:
        IMAGE: The pictures, [B * amount, H, W, C].
    """
    batch, height, width = picture(image, "image").shape[:3]
    check_size(width, height, batch * amount, "Use a smaller amount.")
    return Image(image.repeat(amount, 1, 1, 1))


@node("ImageFromBatch", title="Image From Batch", category="image/batch")
def image_from_batch(
    *, image: Image, batch_index: Annotated[int, Range(0, 4095, step=1)] = 0, length: BatchSize = 1
) -> Image:
    """Some of a batch of pictures.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        batch_index: The first to take, counted from 0; beyond the end it is the last one.
        length: How many, as far as there are.

    Outputs:
        IMAGE: These pictures, [length or less, H, W, C].
    """
    start = min(batch_index, len(picture(image, "image")) - 1)
    return Image(image[start : start + length].clone())


@node("RebatchImages", title="Rebatch Images", category="image/batch")
def rebatch_images(*, images: list[Image], batch_size: BatchSize = 1) -> list[Image]:
    """Pictures in batches of another size, which the next nodes take one after the other.

    Inputs:
        images: The pictures, one batch or a list of them.
        batch_size: How many a batch has; the last one may have fewer.

    Outputs:
        IMAGE: A list of batches, each [batch_size, H, W, C]. Pictures of different sizes fit into batches of 1 only.
    """
    singles = [single for batch in images for single in picture(batch, "images").split(1)]
    groups = [singles[start : start + batch_size] for start in range(0, len(singles), batch_size)]
    for group in groups:
        shapes = sorted({tuple(single.shape[1:]) for single in group})
        if len(shapes) > 1:
            raise ValueError(
                f"Pictures of the shapes {' and '.join(map(str, shapes))} do not fit into one batch. "
                "Use batch_size 1, or scale them with ImageScale first."
            )
    return [Image(torch.cat(group)) for group in groups]
