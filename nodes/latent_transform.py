"""Nodes that resize, cut and turn latents, and put one onto another."""

from dataclasses import replace
from typing import Annotated, Literal, cast

from diffusion.config import LATENT_DOWNSCALE
from diffusion.latents import placing
from diffusion.latents.checks import checked
from diffusion.latents.resize import METHODS, resized
from diffusion.types import Latent, Mask
from graph import Choice, Range, node

MAX_RESOLUTION = 16384
_SMALLEST = 64
Method = Annotated[str, Choice(METHODS)]
Distance = Annotated[int, Range(0, MAX_RESOLUTION, step=8)]
Axis = Annotated[str, Choice(("x", "y", "t"))]


@node("LatentUpscale", title="Upscale Latent", category="latent")
def latent_upscale(
    *,
    samples: Latent,
    upscale_method: Method = "nearest-exact",
    width: Distance = 512,
    height: Distance = 512,
    crop: Annotated[str, Choice(("disabled", "center"))] = "disabled",
) -> Latent:
    """Resize latents. What comes out is blurred or blocky until a sampler has gone over it (denoise 0.5, say).

    Inputs:
        samples: The latents.
        upscale_method: How to interpolate; bislerp keeps the strength of the latents.
        width: Width of the picture in pixels, 64 at least; 0 keeps the proportions (both 0: change nothing).
        height: Height of the picture in pixels, 64 at least; 0 keeps the proportions.
        crop: Cut around the centre to the new proportions, instead of stretching.

    Outputs:
        LATENT: The latents, [B, 4, height/8, width/8] float32. Noise mask and batch index go along.
    """
    old_height, old_width = checked(samples).shape[-2:]
    if width == 0 and height == 0:
        return samples
    if width == 0:
        height = max(_SMALLEST, height)
        width = round(old_width * height / old_height)
    elif height == 0:
        width = max(_SMALLEST, width)
        height = round(old_height * width / old_width)
    width, height = (max(_SMALLEST, side) // LATENT_DOWNSCALE for side in (width, height))
    return replace(
        samples, samples=resized(samples.samples, width, height, upscale_method, crop=crop == "center")
    )


@node("LatentUpscaleBy", title="Upscale Latent By", category="latent")
def latent_upscale_by(
    *,
    samples: Latent,
    upscale_method: Method = "nearest-exact",
    scale_by: Annotated[float, Range(0.01, 8, step=0.01)] = 1.5,
) -> Latent:
    """Resize latents by a factor.

    Inputs:
        samples: The latents.
        upscale_method: How to interpolate; bislerp keeps the strength of the latents.
        scale_by: What width and height are multiplied by.

    Outputs:
        LATENT: The latents, [B, 4, h * scale_by, w * scale_by] float32. Noise mask and batch index go along.
    """
    height, width = (round(side * scale_by) for side in checked(samples).shape[-2:])
    return replace(samples, samples=resized(samples.samples, width, height, upscale_method))


@node("LatentCrop", title="Crop Latent", category="latent/transform")
def latent_crop(
    *,
    samples: Latent,
    width: Annotated[int, Range(64, MAX_RESOLUTION, step=8)] = 512,
    height: Annotated[int, Range(64, MAX_RESOLUTION, step=8)] = 512,
    x: Distance = 0,
    y: Distance = 0,
) -> Latent:
    """Cut a part out of latents. A part that goes past an edge ends there.

    Inputs:
        samples: The latents.
        width: Width of the part in pixels.
        height: Height of the part in pixels.
        x: Where it begins, in pixels from the left; at most 64 from the right edge.
        y: Where it begins, in pixels from the top; at most 64 from the lower edge.

    Outputs:
        LATENT: The part, [B, 4, height/8, width/8] float32. A noise mask is kept whole, and fitted when it is used.
    """
    left, top, width, height = (side // LATENT_DOWNSCALE for side in (x, y, width, height))
    return placing.crop(samples, left=left, top=top, width=width, height=height)


@node("LatentFlip", title="Flip Latent", category="latent/transform")
def latent_flip(
    *,
    samples: Latent,
    flip_method: Annotated[
        str, Choice(("x-axis: vertically", "y-axis: horizontally"))
    ] = "x-axis: vertically",
) -> Latent:
    """Mirror latents.

    Inputs:
        samples: The latents.
        flip_method: Upside down, or left and right exchanged.

    Outputs:
        LATENT: The mirrored latents, [B, 4, h, w] float32. A noise mask is not mirrored.
    """
    return placing.flip(samples, cast(Literal["x", "y"], flip_method[0]))


@node("LatentRotate", title="Rotate Latent", category="latent/transform")
def latent_rotate(
    *,
    samples: Latent,
    rotation: Annotated[str, Choice(("none", "90 degrees", "180 degrees", "270 degrees"))] = "none",
) -> Latent:
    """Turn latents clockwise.

    Inputs:
        samples: The latents.
        rotation: How far.

    Outputs:
        LATENT: The turned latents, [B, 4, w, h] float32 after a quarter. A noise mask is not turned.
    """
    quarters = 0 if rotation == "none" else int(rotation.split()[0]) // 90
    return placing.rotate(samples, quarters)


@node("LatentComposite", title="Latent Composite", category="latent")
def latent_composite(
    *,
    samples_to: Latent,
    samples_from: Latent,
    x: Distance = 0,
    y: Distance = 0,
    feather: Distance = 0,
) -> Latent:
    """Paste latents onto others. What goes past the edges is left out.

    Inputs:
        samples_to: What to paste onto.
        samples_from: What to paste; its batch is repeated, or cut, to that of samples_to.
        x: Where its left edge goes, in pixels.
        y: Where its upper edge goes, in pixels.
        feather: Over how many pixels its edges fade in, those at the border of samples_to excepted.

    Outputs:
        LATENT: samples_to, changed; [B, 4, h, w] float32, with its own noise mask and batch index.
    """
    left, top, feather = (side // LATENT_DOWNSCALE for side in (x, y, feather))
    return placing.composite(samples_to, samples_from, left=left, top=top, feather=feather)


@node("LatentCompositeMasked", title="Latent Composite Masked", category="latent")
def latent_composite_masked(
    *,
    destination: Latent,
    source: Latent,
    x: Distance = 0,
    y: Distance = 0,
    resize_source: bool = False,
    mask: Mask | None = None,
) -> Latent:
    """Paste latents onto others where a mask says so. What goes past the edges is left out.

    Inputs:
        destination: What to paste onto.
        source: What to paste; its batch is repeated, or cut, to that of the destination.
        x: Where its left edge goes, in pixels.
        y: Where its upper edge goes, in pixels.
        resize_source: Stretch the source to the destination's size first.
        mask: How much of each place to paste, 0..1, stretched over the source; everything without it.

    Outputs:
        LATENT: The destination, changed; [B, 4, h, w] float32, with its own noise mask and batch index.
    """
    left, top = x // LATENT_DOWNSCALE, y // LATENT_DOWNSCALE
    return placing.composite_masked(destination, source, left=left, top=top, stretch=resize_source, mask=mask)


@node("LatentConcat", title="Latent Concat", category="latent/advanced")
def latent_concat(
    *,
    samples1: Latent,
    samples2: Latent,
    dim: Annotated[str, Choice(("x", "-x", "y", "-y", "t", "-t"))] = "x",
) -> Latent:
    """Put latents side by side.

    Inputs:
        samples1: The first latents.
        samples2: The others, of the same height (x) or width (y); their batch is repeated, or cut, to the first's.
        dim: Where samples2 goes: right (x), left (-x), below (y), above (-y). t is for videos, and refused.

    Outputs:
        LATENT: Both, [B, 4, h, w1 + w2] or [B, 4, h1 + h2, w] float32, with the noise mask and batch index of samples1.
    """
    return placing.concat(samples1, samples2, dim)


@node("LatentCut", title="Latent Cut", category="latent/advanced")
def latent_cut(
    *,
    samples: Latent,
    dim: Axis = "x",
    index: Annotated[int, Range(-MAX_RESOLUTION, MAX_RESOLUTION)] = 0,
    amount: Annotated[int, Range(1, MAX_RESOLUTION)] = 1,
) -> Latent:
    """Cut a strip out of latents.

    Inputs:
        samples: The latents.
        dim: Along which axis to count. t is for videos, and refused.
        index: Where the strip begins, in cells of 8 pixels; below 0 counts from the end.
        amount: How many cells; fewer at the edge.

    Outputs:
        LATENT: The strip, [B, 4, h, amount] or [B, 4, amount, w] float32.
    """
    return placing.cut(samples, dim, index, amount)
