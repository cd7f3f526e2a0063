"""Nodes that make, change and show masks."""

from typing import Annotated

import torch

from diffusion.types import Image, Mask
from graph import QUIET, Choice, Context, Range, Shown, node
from imaging import masks
from imaging.channels import CHANNELS, channel_of, with_channels
from imaging.checks import COLOUR_OR_ALPHA, MAX_SIDE, check_size, mask_of, picture
from nodes.image import preview_image

Place = Annotated[int, Range(0, MAX_SIDE, step=1)]
Side = Annotated[int, Range(1, MAX_SIDE, step=1)]
Share = Annotated[float, Range(0, 1, step=0.01)]


@node("SolidMask", title="Solid Mask", category="mask")
def solid_mask(*, value: Share = 1.0, width: Side = 512, height: Side = 512) -> Mask:
    """A mask of one value.

    Inputs:
        value: 0..1.
        width: In pixels.
        height: In pixels.

    Outputs:
        MASK: The mask, [1, height, width] float32.
    """
    check_size(width, height, 1, "Use a smaller size.")
    return Mask(torch.full((1, height, width), value))


@node("InvertMask", title="Invert Mask", category="mask")
def invert_mask(*, mask: Mask) -> Mask:
    """Exchange what is masked and what is not.

    Inputs:
        mask: The mask, [B, H, W].

    Outputs:
        MASK: 1 minus the mask.
    """
    return Mask(1.0 - mask_of(mask, "mask"))


@node("CropMask", title="Crop Mask", category="mask")
def crop_mask(*, mask: Mask, x: Place = 0, y: Place = 0, width: Side = 512, height: Side = 512) -> Mask:
    """Cut a part out of a mask. It ends where the mask does.

    Inputs:
        mask: The mask, [B, H, W].
        x: The part's left edge, inside the mask.
        y: The part's upper edge, inside the mask.
        width: In pixels.
        height: In pixels.

    Outputs:
        MASK: The part, [B, height or less, width or less].
    """
    return Mask(masks.crop_mask(mask_of(mask, "mask"), x, y, width, height))


@node("MaskComposite", title="Mask Composite", category="mask")
def mask_composite(
    *,
    destination: Mask,
    source: Mask,
    x: Place = 0,
    y: Place = 0,
    operation: Annotated[str, Choice(masks.OPERATIONS)] = "multiply",
) -> Mask:
    """Combine two masks.

    Inputs:
        destination: The mask that is changed, [B, H, W].
        source: The other one; it changes what it covers and no more.
        x: Where its left edge lies, inside the destination.
        y: Where its upper edge lies, inside the destination.
        operation: How. and, or and xor take both as 0 or 1, whichever is nearer.

    Outputs:
        MASK: The mask, [B, H, W], 0..1.
    """
    below, above = mask_of(destination, "destination"), mask_of(source, "source")
    return Mask(masks.combine(below, above, x, y, operation))


@node("FeatherMask", title="Feather Mask", category="mask")
def feather_mask(*, mask: Mask, left: Place = 0, top: Place = 0, right: Place = 0, bottom: Place = 0) -> Mask:
    """Let a mask fall off towards its edges.

    The falls from the right and from below are those that existing workflows rely on: a pixel short, and the first
    column (row) of all falls too.

    Inputs:
        mask: The mask, [B, H, W].
        left: Over how many pixels from the left.
        top: Over how many from above.
        right: Over how many from the right.
        bottom: Over how many from below.

    Outputs:
        MASK: The mask, [B, H, W].
    """
    return Mask(masks.feather(mask_of(mask, "mask"), left, top, right, bottom))


@node("GrowMask", title="Grow Mask", category="mask")
def grow_mask(
    *,
    mask: Mask,
    expand: Annotated[int, Range(-MAX_SIDE, MAX_SIDE, step=1)] = 0,
    tapered_corners: bool = True,
) -> Mask:
    """Make what is masked larger or smaller.

    Inputs:
        mask: The mask, [B, H, W].
        expand: By how many pixels; negative to shrink it.
        tapered_corners: Cut corners off, so that a point becomes a diamond and not a square.

    Outputs:
        MASK: The mask, [B, H, W].
    """
    return Mask(masks.grow(mask_of(mask, "mask"), expand, tapered_corners=tapered_corners))


@node("ThresholdMask", title="Threshold Mask", category="mask")
def threshold_mask(*, mask: Mask, value: Share = 0.5) -> Mask:
    """A mask of 0 and 1 only.

    Inputs:
        mask: The mask, [B, H, W].
        value: What is above it becomes 1, all else 0.

    Outputs:
        MASK: The mask, [B, H, W].
    """
    return Mask((mask_of(mask, "mask") > value).float())


@node("ImageToMask", title="Convert Image to Mask", category="mask")
def image_to_mask(*, image: Image, channel: Annotated[str, Choice(CHANNELS)] = "red") -> Mask:
    """One channel of pictures as a mask, as it is: alpha is not turned round.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        channel: Which one. A grey picture gives the same for red, green and blue.

    Outputs:
        MASK: The channel, [B, H, W].
    """
    return Mask(channel_of(picture(image, "image"), channel))


@node("ImageColorToMask", title="Image Color to Mask", category="mask")
def image_color_to_mask(*, image: Image, color: Annotated[int, Range(0, 0xFFFFFF, step=1)] = 0) -> Mask:
    """Mask the pixels of one colour.

    Inputs:
        image: The pictures, [B, H, W, 3 or 4].
        color: 0xRRGGBB as a number: 16711680 is red. It must be met exactly, in 8 bits a channel.

    Outputs:
        MASK: 1 where a pixel has the colour, [B, H, W].
    """
    return Mask(masks.colour_mask(picture(image, "image", COLOUR_OR_ALPHA), color))


@node("MaskToImage", title="Convert Mask to Image", category="mask")
def mask_to_image(*, mask: Mask) -> Image:
    """A mask as grey pictures.

    Inputs:
        mask: The mask, [B, H, W].

    Outputs:
        IMAGE: The pictures, [B, H, W, 3], white where the mask is 1.
    """
    return Image(with_channels(mask_of(mask, "mask")[..., None], 3).contiguous())


@node("MaskPreview", title="Preview Mask", category="mask", output=True, io=True)
def mask_preview(*, mask: Mask, ctx: Context = QUIET) -> Shown[None]:
    """Show a mask without keeping it: it goes to the temporary folder.

    Inputs:
        mask: The mask, [B, H, W].
    """
    return preview_image(images=mask_to_image(mask=mask), ctx=ctx)
