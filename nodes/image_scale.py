"""Nodes that make pictures larger or smaller by plain arithmetic."""

from typing import Annotated

from diffusion.types import Image
from graph import Choice, Range, node
from imaging import canvas, scale
from imaging.checks import MAX_SIDE, picture

Method = Annotated[str, Choice(scale.METHODS)]
Side = Annotated[int, Range(0, MAX_SIDE, step=1)]


def _size(image: Image) -> tuple[int, int]:
    """(width, height)."""
    return image.shape[2], image.shape[1]


@node("ImageScale", title="Upscale Image", category="image/upscaling")
def image_scale(
    *,
    image: Image,
    upscale_method: Method = "nearest-exact",
    width: Side = 512,
    height: Side = 512,
    crop: Annotated[str, Choice(scale.CROPS)] = "disabled",
) -> Image:
    """Scale pictures to a size.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        upscale_method: How. area and lanczos average when they shrink, the others take the nearest pixels only.
        width: Of the result; 0 to let it follow from height. With both 0 the pictures stay as they are.
        height: Of the result; 0 to let it follow from width.
        crop: center cuts to the new shape around the centre first; disabled distorts instead.

    Outputs:
        IMAGE: The pictures, [B, height, width, C] float32.
    """
    picture(image, "image")
    size = scale.size_by_sides(_size(image), width, height)
    return image if width == height == 0 else Image(scale.resize(image, *size, upscale_method, crop))


@node("ImageScaleBy", title="Upscale Image By", category="image/upscaling")
def image_scale_by(
    *,
    image: Image,
    upscale_method: Method = "nearest-exact",
    scale_by: Annotated[float, Range(0.01, 8, step=0.01)] = 1.0,
) -> Image:
    """Scale pictures by a factor.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        upscale_method: How; see ImageScale.
        scale_by: The factor of both sides, which are rounded to whole pixels.

    Outputs:
        IMAGE: The pictures, [B, H * scale_by, W * scale_by, C] float32.
    """
    picture(image, "image")
    return Image(scale.resize(image, *scale.size_by_factor(_size(image), scale_by), upscale_method))


@node("ImageScaleToTotalPixels", title="Scale Image to Total Pixels", category="image/upscaling")
def image_scale_to_total_pixels(
    *,
    image: Image,
    upscale_method: Method = "nearest-exact",
    megapixels: Annotated[float, Range(0.01, 16, step=0.01)] = 1.0,
) -> Image:
    """Scale pictures to a number of pixels, keeping their shape.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        upscale_method: How; see ImageScale.
        megapixels: How many pixels the result has, about, in units of 1024 x 1024.

    Outputs:
        IMAGE: The pictures, [B, H', W', C] float32.
    """
    picture(image, "image")
    return Image(scale.resize(image, *scale.size_by_pixels(_size(image), megapixels), upscale_method))


@node("ImageScaleToMaxDimension", title="Scale Image to Max Dimension", category="image/upscaling")
def image_scale_to_max_dimension(
    *,
    image: Image,
    upscale_method: Annotated[
        str, Choice(("area", "lanczos", "bilinear", "nearest-exact", "bicubic"))
    ] = "area",
    largest_size: Side = 512,
) -> Image:
    """Scale pictures so that their longer side has a length, keeping their shape.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        upscale_method: How; see ImageScale.
        largest_size: The longer side of the result in pixels, 1 at least.

    Outputs:
        IMAGE: The pictures, [B, H', W', C] float32.
    """
    picture(image, "image")
    return Image(scale.resize(image, *scale.size_by_largest(_size(image), largest_size), upscale_method))


@node("ResizeAndPadImage", title="Resize and Pad Image", category="image/transform")
def resize_and_pad_image(
    *,
    image: Image,
    target_width: Annotated[int, Range(1, MAX_SIDE, step=1)] = 512,
    target_height: Annotated[int, Range(1, MAX_SIDE, step=1)] = 512,
    padding_color: Annotated[str, Choice(("white", "black"))] = "white",
    interpolation: Annotated[
        str, Choice(("area", "bicubic", "nearest-exact", "bilinear", "lanczos"))
    ] = "area",
) -> Image:
    """Scale pictures into a frame without distortion; what they leave of it gets a colour.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        target_width: The frame's width in pixels.
        target_height: The frame's height in pixels.
        padding_color: Of the frame beside the picture.
        interpolation: How to scale; see ImageScale.

    Outputs:
        IMAGE: The pictures, [B, target_height, target_width, C] float32.
    """
    fill = 1.0 if padding_color == "white" else 0.0
    checked = picture(image, "image")
    return Image(canvas.resize_and_pad(checked, target_width, target_height, interpolation, fill))
