"""Nodes that save pictures in other forms than SaveImage: JPEG, WEBP, animations."""

from typing import Annotated

from diffusion.types import Image
from graph import QUIET, Choice, Context, Range, Shown, node
from nodes.image_encoding import FORMATS, WEBP_METHODS, Animation, Encoding, animation_bytes, picture_bytes
from nodes.metadata import workflow_metadata
from nodes.pictures import check_pictures
from nodes.saving import FilePrefix, expand_prefix, save_numbered

Prefix = Annotated[str, FilePrefix()]
FramesPerSecond = Annotated[float, Range(0.01, 1000, step=0.01)]


@node("SaveImageAs", title="Save Image As", category="image", output=True, io=True)
def save_image_as(
    *,
    images: Image,
    filename_prefix: Prefix = "ComfyUI",
    format: Annotated[str, Choice(tuple(FORMATS))] = "PNG",
    quality: Annotated[int, Range(1, 100, step=1)] = 90,
    lossless: bool = False,
    metadata: bool = True,
    ctx: Context = QUIET,
) -> Shown[None]:
    """Save pictures as PNG, JPEG or WEBP in the output folder, each with the workflow that made it.

    Inputs:
        images: The pictures, [B, H, W, 1, 3 or 4]. JPEG takes no alpha channel.
        filename_prefix: Start of the files' names, as in SaveImage.
        format: Of the files. A JPEG has room for a workflow of 64 KB at most.
        quality: Of JPEG and of WEBP that is not lossless: 100 is best and largest.
        lossless: Keep a WEBP exact, bit by bit; it becomes larger.
        metadata: Whether to put the workflow inside.
    """
    check_pictures(images)
    texts = workflow_metadata(ctx) if metadata else {}
    height, width = images.shape[1:3]
    prefix = expand_prefix(filename_prefix, ctx=ctx, width=width, height=height)
    encoding = Encoding(format, quality, lossless)
    saved = [
        save_numbered(
            ctx.folders.output,
            prefix.replace("%batch_num%", str(number)),
            FORMATS[format],
            picture_bytes(picture, texts, encoding),
            kind="output",
        )
        for number, picture in enumerate(images)
    ]
    return Shown(None, ui={"images": saved})


@node("SaveAnimatedWEBP", title="Save Animated WEBP", category="image/animation", output=True, io=True)
def save_animated_webp(
    *,
    images: Image,
    filename_prefix: Prefix = "ComfyUI",
    fps: FramesPerSecond = 6.0,
    lossless: bool = True,
    quality: Annotated[int, Range(0, 100, step=1)] = 80,
    method: Annotated[str, Choice(tuple(WEBP_METHODS))] = "default",
    ctx: Context = QUIET,
) -> Shown[None]:
    """Save a batch of pictures as one animated WEBP, with the workflow that made it.

    Inputs:
        images: The frames, [B, H, W, 1, 3 or 4].
        filename_prefix: Start of the file's name, as in SaveImage.
        fps: Frames a second; each lasts whole milliseconds.
        lossless: Keep the frames exact, bit by bit.
        quality: Without lossless how good they look, with it how hard to compress.
        method: How long to search for a smaller file.
    """
    animation = Animation("WEBP", fps, Encoding("WEBP", quality, lossless, WEBP_METHODS[method]))
    return _save_animation(images, filename_prefix, animation, ctx)


@node("SaveAnimatedPNG", title="Save Animated PNG", category="image/animation", output=True, io=True)
def save_animated_png(
    *,
    images: Image,
    filename_prefix: Prefix = "ComfyUI",
    fps: FramesPerSecond = 6.0,
    compress_level: Annotated[int, Range(0, 9, step=1)] = 4,
    ctx: Context = QUIET,
) -> Shown[None]:
    """Save a batch of pictures as one animated PNG, with the workflow that made it.

    Inputs:
        images: The frames, [B, H, W, 1, 3 or 4].
        filename_prefix: Start of the file's name, as in SaveImage.
        fps: Frames a second; each lasts whole milliseconds.
        compress_level: 0 is fast and large, 9 slow and small.
    """
    animation = Animation("PNG", fps, Encoding("PNG", compress_level=compress_level))
    return _save_animation(images, filename_prefix, animation, ctx)


def _save_animation(images: Image, filename_prefix: str, animation: Animation, ctx: Context) -> Shown[None]:
    check_pictures(images)
    height, width = images.shape[1:3]
    prefix = expand_prefix(filename_prefix, ctx=ctx, width=width, height=height)
    content = animation_bytes(images, workflow_metadata(ctx), animation)
    suffix = FORMATS[animation.format]
    saved = save_numbered(ctx.folders.output, prefix, suffix, content, kind="output")
    return Shown(None, ui={"images": [saved], "animated": [len(images) > 1]})
