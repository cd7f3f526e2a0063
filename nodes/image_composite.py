"""Nodes that put two pictures, or a picture and its transparency, together."""

from typing import Annotated

from diffusion.types import Image, Mask
from graph import Choice, Range, node
from imaging import blend, channels, composite, porter_duff
from imaging.checks import COLOUR_OR_ALPHA, MAX_SIDE, mask_of, picture
from imaging.scale import resize_mask
from nodes.pictures import ImageAndMask

Place = Annotated[int, Range(0, MAX_SIDE, step=1)]


@node("ImageCompositeMasked", title="Image Composite Masked", category="image")
def image_composite_masked(
    *,
    destination: Image,
    source: Image,
    x: Place = 0,
    y: Place = 0,
    resize_source: bool = False,
    mask: Mask | None = None,
) -> Image:
    """Lay one picture onto another.

    Inputs:
        destination: The picture below, [B, H, W, 1, 3 or 4].
        source: The picture on it; repeated as often as the other batch needs. What reaches beyond is cut off.
        x: Where its left edge lies, inside the destination.
        y: Where its upper edge lies, inside the destination.
        resize_source: Scale it to the destination first.
        mask: Where it shows, [B, H, W], scaled to it; 1 shows it. Without one all of it shows.

    Outputs:
        IMAGE: The pictures, [B, H, W, C].
    """
    below, above = picture(destination, "destination"), picture(source, "source")
    cover = None if mask is None else mask_of(mask, "mask")
    return Image(composite.paste(below, above, x, y, cover, fit=resize_source))


@node("ImageBlend", title="Image Blend", category="image/postprocessing")
def image_blend(
    *,
    image1: Image,
    image2: Image,
    blend_factor: Annotated[float, Range(0, 1, step=0.01)] = 0.5,
    blend_mode: Annotated[str, Choice(blend.MODES)] = "normal",
) -> Image:
    """Mix two pictures.

    Inputs:
        image1: The picture below, [B, H, W, 1, 3 or 4].
        image2: The picture above; scaled to the other's size, cut around the centre, repeated to its batch.
        blend_factor: From 0, only the first, to 1, the full effect.
        blend_mode: How they mix; difference is the first minus the second.

    Outputs:
        IMAGE: The pictures, [B, H, W, C], 0..1.
    """
    return Image(blend.blend(picture(image1, "image1"), picture(image2, "image2"), blend_factor, blend_mode))


@node("PorterDuffImageComposite", title="Porter-Duff Image Composite", category="mask/compositing")
def porter_duff_image_composite(
    *,
    source: Image,
    source_alpha: Mask,
    destination: Image,
    destination_alpha: Mask,
    mode: Annotated[str, Choice(porter_duff.MODES)] = "DST",
) -> ImageAndMask:
    """Compose two pictures with transparency by an operator of Porter and Duff, or a blend mode.

    Inputs:
        source: The picture above, [B, H, W, 3 or 4].
        source_alpha: Its mask, [B, H, W]: 1 where it is transparent, as LoadImage gives it.
        destination: The picture below, with as many channels.
        destination_alpha: Its mask.
        mode: The operator. SRC_OVER is what one sees of two pictures lying on each other.

    Outputs:
        IMAGE: The pictures, of the destination's size, as many as the shortest batch has.
        MASK: 1 where they are transparent, [B, H, W].
    """
    colours, mask = porter_duff.compose(
        picture(source, "source"),
        mask_of(source_alpha, "source_alpha"),
        picture(destination, "destination"),
        mask_of(destination_alpha, "destination_alpha"),
        mode,
    )
    return ImageAndMask(Image(colours), Mask(mask))


@node("SplitImageWithAlpha", title="Split Image with Alpha", category="mask/compositing")
def split_image_with_alpha(*, image: Image) -> ImageAndMask:
    """A picture's colours and its transparency.

    Inputs:
        image: The pictures, [B, H, W, 3 or 4].

    Outputs:
        IMAGE: The colours, [B, H, W, 3].
        MASK: 1 where they are transparent, [B, H, W]; 0 everywhere for a picture without alpha.
    """
    colours, mask = channels.split_alpha(picture(image, "image", COLOUR_OR_ALPHA))
    return ImageAndMask(Image(colours), Mask(mask))


@node("JoinImageWithAlpha", title="Join Image with Alpha", category="mask/compositing")
def join_image_with_alpha(*, image: Image, alpha: Mask) -> Image:
    """Make pictures transparent where a mask is 1.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4]; a former alpha channel is left out.
        alpha: The mask, [B, H, W], scaled to the pictures.

    Outputs:
        IMAGE: The pictures, [B, H, W, 4], as many as the shorter batch has.
    """
    checked, mask = picture(image, "image"), mask_of(alpha, "alpha")
    batch = min(len(checked), len(mask))
    sized = resize_mask(mask[:batch], checked.shape[2], checked.shape[1])
    return Image(channels.join_alpha(checked[:batch], sized))
