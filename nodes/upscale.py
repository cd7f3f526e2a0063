"""Nodes that enlarge pictures with a network trained for it."""

from typing import Annotated

from diffusion.runtime import Runtime
from diffusion.types import Image
from diffusion.upscaling import UpscaleModel, enlarge, load_upscaler
from graph import QUIET, Context, File, Socket, node
from imaging.checks import check_size, picture
from imaging.tiles import enlarge_by_tiles
from nodes.fingerprints import file_stamp

Upscaler = Annotated[UpscaleModel, Socket("UPSCALE_MODEL")]
_TILE = 512
_OVERLAP = 32


def _upscaler_stamp(*, model_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("upscale_models", model_name))


@node("UpscaleModelLoader", title="Load Upscale Model", category="loaders", fingerprint=_upscaler_stamp)
def upscale_model_loader(
    *, model_name: Annotated[str, File("upscale_models")], ctx: Context = QUIET
) -> Upscaler:
    """Read an upscale model of the ESRGAN family: ESRGAN, ESRGAN+, BSRGAN, Real-ESRGAN, and its compact form.

    Pickle code in a .pth is never run.

    Inputs:
        model_name: The file, relative to an upscale_models folder.

    Outputs:
        UPSCALE_MODEL: The model; how many times it enlarges (1 to 32) is read off its weights.
    """
    return load_upscaler(ctx.folders.find("upscale_models", model_name), ctx.service(Runtime, Runtime))


@node("ImageUpscaleWithModel", title="Upscale Image (using Model)", category="image/upscaling")
def image_upscale_with_model(*, upscale_model: Upscaler, image: Image, ctx: Context = QUIET) -> Image:
    """Enlarge pictures with an upscale model, in tiles of 512 pixels that pass into each other over 32.

    The tiles are smaller when memory is short.

    Inputs:
        upscale_model: The model.
        image: The pictures, [B, H, W, C], with as many channels as the model was trained for, mostly 3.

    Outputs:
        IMAGE: The pictures, [B, scale * H, scale * W, C] float32, 0..1.
    """
    channels, scale = upscale_model.config.in_channels, upscale_model.config.scale
    batch, height, width = picture(image, "image").shape[:3]
    if image.shape[-1] != channels:
        raise ValueError(
            f"image has {image.shape[-1]} channels and this upscale model takes {channels}. "
            "Take an alpha channel off with SplitImageWithAlpha, or use another model."
        )
    check_size(width * scale, height * scale, batch, "Scale the picture down with ImageScaleBy first.")
    larger = enlarge_by_tiles(
        image,
        lambda piece: enlarge(upscale_model, piece),
        scale,
        tile=_TILE,
        overlap=_OVERLAP,
        on_tile=ctx.progress,
    )
    return Image(larger.clamp_(0, 1))
