"""Nodes that change pictures pixel by pixel."""

from typing import Annotated

from diffusion.types import Image
from graph import Choice, Range, Seed, node
from imaging import colour_match, edges, filters
from imaging import quantize as quantizing
from imaging.channels import with_channels
from imaging.checks import ANY_CHANNELS, COLOUR, picture

Radius = Annotated[int, Range(1, 31, step=1)]
Threshold = Annotated[float, Range(0.01, 0.99, step=0.01)]


@node("ImageInvert", title="Invert Image", category="image")
def image_invert(*, image: Image) -> Image:
    """Pictures with light and dark exchanged.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4]. An alpha channel is inverted too.

    Outputs:
        IMAGE: 1 minus the pictures.
    """
    return Image(1.0 - picture(image, "image"))


@node("ImageBlur", title="Image Blur", category="image/postprocessing")
def image_blur(
    *, image: Image, blur_radius: Radius = 1, sigma: Annotated[float, Range(0.1, 10, step=0.1)] = 1.0
) -> Image:
    """Blur pictures with a Gaussian.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4], both sides larger than blur_radius.
        blur_radius: How many pixels around each one count.
        sigma: The Gaussian's width as a share of blur_radius; from 2 on all count nearly alike.

    Outputs:
        IMAGE: The pictures, [B, H, W, C].
    """
    return Image(filters.gaussian_blur(picture(image, "image"), blur_radius, sigma))


@node("ImageSharpen", title="Image Sharpen", category="image/postprocessing")
def image_sharpen(
    *,
    image: Image,
    sharpen_radius: Radius = 1,
    sigma: Annotated[float, Range(0.1, 10, step=0.01)] = 1.0,
    alpha: Annotated[float, Range(0, 5, step=0.01)] = 1.0,
) -> Image:
    """Sharpen pictures: add 10 * alpha times what a blur takes away.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4], both sides larger than sharpen_radius.
        sharpen_radius: How many pixels around each one count.
        sigma: The blur's width as a share of sharpen_radius.
        alpha: How strongly; 0 changes nothing.

    Outputs:
        IMAGE: The pictures, [B, H, W, C], 0..1.
    """
    return Image(filters.sharpen(picture(image, "image"), sharpen_radius, sigma, alpha))


@node("ImageQuantize", title="Image Quantize", category="image/postprocessing")
def image_quantize(
    *,
    image: Image,
    colors: Annotated[int, Range(1, 256, step=1)] = 256,
    dither: Annotated[str, Choice(quantizing.DITHERS)] = "none",
) -> Image:
    """Pictures with few colours, chosen for each.

    Inputs:
        image: The pictures, [B, H, W, 3].
        colors: How many colours at most.
        dither: How the steps between them are broken up: not at all, by spreading the error, or by a pattern of NxN.

    Outputs:
        IMAGE: The pictures, [B, H, W, 3].
    """
    return Image(quantizing.quantize(picture(image, "image", COLOUR), colors, dither))


@node("ImageAddNoise", title="Add Noise to Image", category="image")
def image_add_noise(
    *,
    image: Image,
    seed: Annotated[int, Seed()] = 0,
    strength: Annotated[float, Range(0, 1, step=0.01)] = 0.5,
) -> Image:
    """Add normal noise to pictures.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4].
        seed: The same seed draws the same noise, on any machine.
        strength: The noise's standard deviation; 0 changes nothing.

    Outputs:
        IMAGE: The pictures, 0..1.
    """
    return Image(filters.add_noise(picture(image, "image"), seed, strength))


@node("Canny", title="Canny", category="image/preprocessors")
def canny(*, image: Image, low_threshold: Threshold = 0.4, high_threshold: Threshold = 0.8) -> Image:
    """Thin white edges on black, as ControlNets for edges take them.

    Inputs:
        image: The pictures, [B, H, W, 1, 3 or 4], 3x3 pixels at least; alpha is left out.
        low_threshold: How strong an edge must be where it goes on from a strong one.
        high_threshold: How strong an edge must be somewhere; not below low_threshold.

    Outputs:
        IMAGE: The edges, [B, H, W, 3], 0 or 1.
    """
    found = edges.canny(picture(image, "image", ANY_CHANNELS), low_threshold, high_threshold)
    return Image(with_channels(found[..., None], 3).contiguous())


@node("ImageColorMatch", title="Match Colours", category="image/postprocessing")
def image_color_match(
    *,
    image: Image,
    reference: Image,
    method: Annotated[str, Choice(colour_match.METHODS)] = "reinhard",
    strength: Annotated[float, Range(0, 1, step=0.01)] = 1.0,
) -> Image:
    """Give pictures the colours of another, for instance to a painted part those of what is around it.

    Inputs:
        image: The pictures to change, [B, H, W, 3].
        reference: The picture whose colours they get, of any size: one for all or one for each, [1 or B, H', W', 3].
        method: reinhard matches the mean and spread in CIELAB, histogram the distribution of each of red, green, blue.
        strength: From 0, no change, to 1.

    Outputs:
        IMAGE: The pictures, [B, H, W, 3], 0..1.
    """
    checked, other = picture(image, "image", COLOUR), picture(reference, "reference", COLOUR)
    return Image(colour_match.match_colours(checked, other, method, strength))
