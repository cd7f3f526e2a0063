"""Nodes that load, save and show pictures."""

from typing import Annotated

from diffusion.types import Image, Mask
from graph import QUIET, Choice, Context, File, Shown, node
from nodes.fingerprints import content_stamp
from nodes.image_encoding import Encoding, picture_bytes
from nodes.metadata import workflow_metadata
from nodes.pictures import ImageAndMask, check_pictures, read_channel, read_picture
from nodes.saving import FilePrefix, expand_prefix, save_numbered

PictureFile = Annotated[str, File("input", upload=True)]


def _picture_stamp(*, image: str, ctx: Context = QUIET) -> str:
    return content_stamp(ctx.folders.find("input", image))


@node("LoadImage", title="Load Image", category="image", fingerprint=_picture_stamp)
def load_image(*, image: PictureFile, ctx: Context = QUIET) -> ImageAndMask:
    """Load a picture from the input folder, turned upright; every frame of an animation becomes one of the batch.

    Inputs:
        image: The file.

    Outputs:
        IMAGE: The picture, [B, H, W, 3] float32, 0..1.
        MASK: 1 where the picture is transparent, [B, H, W]; zeros of 64x64 when it has no transparency.
    """
    return ImageAndMask(*read_picture(ctx.folders.find("input", image)))


def _output_stamp(*, image: str, ctx: Context = QUIET) -> str:
    return content_stamp(ctx.folders.find("output", image))


@node("LoadImageOutput", title="Load Image (from Outputs)", category="image", fingerprint=_output_stamp)
def load_image_output(*, image: Annotated[str, File("output")], ctx: Context = QUIET) -> ImageAndMask:
    """Load a picture from the output folder, as LoadImage does from the input folder.

    Inputs:
        image: The file.

    Outputs:
        IMAGE: The picture, [B, H, W, 3] float32, 0..1.
        MASK: 1 where the picture is transparent, [B, H, W]; zeros of 64x64 when it has no transparency.
    """
    return ImageAndMask(*read_picture(ctx.folders.find("output", image)))


@node("LoadImageMask", title="Load Image (as Mask)", category="mask", fingerprint=_picture_stamp)
def load_image_mask(
    *,
    image: PictureFile,
    channel: Annotated[str, Choice(("alpha", "red", "green", "blue"))] = "alpha",
    ctx: Context = QUIET,
) -> Mask:
    """Load one channel of a picture as a mask.

    Inputs:
        image: The file.
        channel: Which channel; alpha is turned round, so that transparent means 1.

    Outputs:
        MASK: The mask, [1, H, W] float32, 0..1.
    """
    return read_channel(ctx.folders.find("input", image), channel)


@node("SaveImage", title="Save Image", category="image", output=True, io=True)
def save_image(
    *, images: Image, filename_prefix: Annotated[str, FilePrefix()] = "ComfyUI", ctx: Context = QUIET
) -> Shown[None]:
    """Save pictures as PNG in the output folder, each with the workflow that made it.

    Inputs:
        images: The pictures.
        filename_prefix: Start of the files' names, with folders before it; a number follows. `%width%`, `%height%`,
            `%batch_num%`, `%date:yyyy-MM-dd%` and `%Node title.input%` are filled in.
    """
    check_pictures(images)
    metadata = workflow_metadata(ctx)
    height, width = images.shape[1:3]
    prefix = expand_prefix(filename_prefix, ctx=ctx, width=width, height=height)
    saved = [
        save_numbered(
            ctx.folders.output,
            prefix.replace("%batch_num%", str(number)),
            ".png",
            picture_bytes(picture, metadata, Encoding("PNG")),
            kind="output",
        )
        for number, picture in enumerate(images)
    ]
    return Shown(None, ui={"images": saved})


@node("PreviewImage", title="Preview Image", category="image", output=True, io=True)
def preview_image(*, images: Image, ctx: Context = QUIET) -> Shown[None]:
    """Show pictures without keeping them: they go to the temporary folder.

    Inputs:
        images: The pictures.
    """
    check_pictures(images)
    metadata = workflow_metadata(ctx)
    saved = [
        save_numbered(
            ctx.folders.temp,
            "preview",
            ".png",
            picture_bytes(picture, metadata, Encoding("PNG", compress_level=1)),
            kind="temp",
        )
        for picture in images
    ]
    return Shown(None, ui={"images": saved})
