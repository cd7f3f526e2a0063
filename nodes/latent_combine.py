"""Nodes that compute with latents: sums, mixtures, and operations that are values themselves."""

from dataclasses import replace
from typing import Annotated

from diffusion.latents import combine
from diffusion.latents.operations import LatentOperation, OnGuidance, Sharpen, Tonemap, apply_operation
from diffusion.model import Model
from diffusion.types import Latent
from graph import Range, Socket, node

Operation = Annotated[LatentOperation, Socket("LATENT_OPERATION")]
Share = Annotated[float, Range(0, 1, step=0.01)]


@node("LatentAdd", title="Latent Add", category="latent/advanced")
def latent_add(*, samples1: Latent, samples2: Latent) -> Latent:
    """The sum of two latents.

    Inputs:
        samples1: The first.
        samples2: The second; resized to the first, its batch repeated or cut to the first's.

    Outputs:
        LATENT: samples1 + samples2, [B, 4, h, w] float32, with the noise mask and batch index of samples1.
    """
    return combine.add(samples1, samples2)


@node("LatentSubtract", title="Latent Subtract", category="latent/advanced")
def latent_subtract(*, samples1: Latent, samples2: Latent) -> Latent:
    """The difference of two latents.

    Inputs:
        samples1: What to subtract from.
        samples2: What to subtract; resized to the first, its batch repeated or cut to the first's.

    Outputs:
        LATENT: samples1 - samples2, [B, 4, h, w] float32, with the noise mask and batch index of samples1.
    """
    return combine.subtract(samples1, samples2)


@node("LatentMultiply", title="Latent Multiply", category="latent/advanced")
def latent_multiply(
    *, samples: Latent, multiplier: Annotated[float, Range(-10, 10, step=0.01)] = 1.0
) -> Latent:
    """Latents times a number.

    Inputs:
        samples: The latents.
        multiplier: The number.

    Outputs:
        LATENT: The product, [B, 4, h, w] float32.
    """
    return combine.multiply(samples, multiplier)


@node("LatentInterpolate", title="Latent Interpolate", category="latent/advanced")
def latent_interpolate(*, samples1: Latent, samples2: Latent, ratio: Share = 1.0) -> Latent:
    """Mix two latents, directions and lengths apart from each other, so that the mixture is not weaker than they are.

    Inputs:
        samples1: What is there at ratio 1.
        samples2: What is there at ratio 0; resized to the first, its batch repeated or cut to the first's.
        ratio: How much of the first.

    Outputs:
        LATENT: The mixture, [B, 4, h, w] float32, with the noise mask and batch index of samples1.
    """
    return combine.interpolate(samples1, samples2, ratio)


@node("LatentBlend", title="Latent Blend", category="latent/advanced")
def latent_blend(*, samples1: Latent, samples2: Latent, blend_factor: Share = 0.5) -> Latent:
    """Mix two latents on a line.

    Inputs:
        samples1: What is there at 1.
        samples2: What is there at 0; resized to the first. The shorter of the batches is repeated.
        blend_factor: How much of the first.

    Outputs:
        LATENT: samples1 * blend_factor + samples2 * (1 - blend_factor), [B, 4, h, w] float32.
    """
    return combine.blend(samples1, samples2, blend_factor)


@node("LatentApplyOperation", title="Latent Apply Operation", category="latent/advanced/operations")
def latent_apply_operation(*, samples: Latent, operation: Operation) -> Latent:
    """Change latents by an operation.

    Inputs:
        samples: The latents.
        operation: The operation.

    Outputs:
        LATENT: The changed latents, [B, 4, h, w] float32.
    """
    return apply_operation(samples, operation)


@node("LatentApplyOperationCFG", title="Latent Apply Operation CFG", category="latent/advanced/operations")
def latent_apply_operation_cfg(*, model: Model, operation: Operation) -> Model:
    """Change by an operation, at every step, what guidance adds to the prediction without the prompt.

    Inputs:
        model: The model.
        operation: The operation; it works on latents [B, 4, h, w].

    Outputs:
        MODEL: The model with the change.
    """
    return replace(model, guidance=model.guidance.first(OnGuidance(operation)))


@node(
    "LatentOperationTonemapReinhard",
    title="Latent Operation Tonemap Reinhard",
    category="latent/advanced/operations",
)
def latent_operation_tonemap(
    *, multiplier: Annotated[float, Range(0, 100, step=0.01)] = 1.0
) -> Annotated[LatentOperation, Socket("LATENT_OPERATION")]:
    """An operation that compresses strong contrast (Reinhard et al., 2002), such as high guidance makes.

    Inputs:
        multiplier: Of the highest strength that comes out; above 0, lower compresses more.

    Outputs:
        LATENT_OPERATION: The operation.
    """
    return Tonemap(multiplier)


@node("LatentOperationSharpen", title="Latent Operation Sharpen", category="latent/advanced/operations")
def latent_operation_sharpen(
    *,
    sharpen_radius: Annotated[int, Range(1, 31)] = 9,
    sigma: Annotated[float, Range(0.1, 10, step=0.1)] = 1.0,
    alpha: Annotated[float, Range(0, 5, step=0.01)] = 0.1,
) -> Annotated[LatentOperation, Socket("LATENT_OPERATION")]:
    """An operation that sharpens.

    Inputs:
        sharpen_radius: How far to look around, in cells of 8 pixels; less than the latent's sides.
        sigma: Width of the blur that is compared with, as a share of the radius.
        alpha: How much to sharpen.

    Outputs:
        LATENT_OPERATION: The operation.
    """
    return Sharpen(sharpen_radius, sigma, alpha)
