"""Nodes that change what the UNet computes: what comes from below, its attention, the size of its deep part."""

from dataclasses import replace
from typing import Annotated

from diffusion.approximations.window import Window
from diffusion.features.deep_shrink import DeepShrink
from diffusion.features.freeu import FreeU, Scales
from diffusion.features.hyper_tile import HyperTile
from diffusion.latents.resize import METHODS
from diffusion.model import Clip, Model
from diffusion.sampling.transforms.perturbed_attention import PerturbedAttention
from diffusion.sampling.transforms.self_attention import SelfAttention
from diffusion.weight_changes import text_attention_multiplied, unet_attention_multiplied
from graph import Choice, Range, node

CATEGORY = "model_patches/unet"
EXPERIMENTS = "_for_testing/attention_experiments"
Scale = Annotated[float, Range(0, 10, step=0.01)]
Share = Annotated[float, Range(0, 1, step=0.001)]
Method = Annotated[str, Choice(("bicubic", *(method for method in METHODS if method != "bicubic")))]


@node("FreeU", category=CATEGORY)
def free_u(*, model: Model, b1: Scale = 1.1, b2: Scale = 1.2, s1: Scale = 0.9, s2: Scale = 0.2) -> Model:
    """Lead more by the UNet's backbone, less by the coarse part of its skip connections (Si et al. 2023): no cost.

    Inputs:
        model: The model.
        b1: What half of the backbone is multiplied by where it is a quarter of the latent's size or less.
        b2: The same where it is half that size.
        s1: What the lowest frequencies of skip connections are multiplied by at the first of these.
        s2: The same at the second.

    Outputs:
        MODEL: The model with FreeU.
    """
    return model.attached(FreeU.of(model.config, Scales(b1, s1), Scales(b2, s2)))


@node("FreeU_V2", category=CATEGORY)
def free_u_v2(*, model: Model, b1: Scale = 1.3, b2: Scale = 1.4, s1: Scale = 0.9, s2: Scale = 0.2) -> Model:
    """FreeU whose backbone scale follows the features' mean: 1 where it is least, b where it is greatest.

    Inputs:
        model: The model.
        b1: What half of the backbone is multiplied by, at most, where it is a quarter of the latent's size or less.
        b2: The same where it is half that size.
        s1: What the lowest frequencies of skip connections are multiplied by at the first of these.
        s2: The same at the second.

    Outputs:
        MODEL: The model with FreeU.
    """
    return model.attached(FreeU.of(model.config, Scales(b1, s1), Scales(b2, s2), by_structure=True))


@node("PerturbedAttentionGuidance", category=CATEGORY)
def perturbed_attention_guidance(
    *, model: Model, scale: Annotated[float, Range(0, 100, step=0.01)] = 3.0
) -> Model:
    """Lead away from what is drawn when the UNet's middle sees no structure (Ahn et al. 2024): half as slow again.

    Inputs:
        model: The model.
        scale: How far to lead, beside cfg; 0 does nothing.

    Outputs:
        MODEL: The model with this guidance.
    """
    if scale == 0:
        return model
    return replace(model, guidance=model.guidance.then(PerturbedAttention(scale)))


@node("SelfAttentionGuidance", title="Self-Attention Guidance", category="_for_testing")
def self_attention_guidance(
    *,
    model: Model,
    scale: Annotated[float, Range(-2, 5, step=0.01)] = 0.5,
    blur_sigma: Annotated[float, Range(0, 10, step=0.1)] = 2.0,
) -> Model:
    """Lead away from a picture blurred where the UNet looks most (Hong et al. 2023): half as slow again.

    Inputs:
        model: The model.
        scale: How far to lead, beside cfg; 0 does nothing.
        blur_sigma: The blur's standard deviation in cells of the latent, 8 pixels each.

    Outputs:
        MODEL: The model with this guidance. Its guider needs a negative prompt.
    """
    if scale == 0:
        return model
    change = SelfAttention(scale, blur_sigma)
    guidance = model.guidance.then(change)
    return replace(
        model, guidance=replace(guidance, watches=(*guidance.watches, change.watch), needs_uncond=True)
    )


@node("HyperTile", category=CATEGORY)
def hyper_tile(
    *,
    model: Model,
    tile_size: Annotated[int, Range(1, 2048)] = 256,
    swap_size: Annotated[int, Range(1, 128)] = 2,
    max_depth: Annotated[int, Range(0, 10)] = 0,
    scale_depth: bool = False,
) -> Model:
    """Let the picture attend to itself within tiles only: faster on large pictures.

    Inputs:
        model: The model.
        tile_size: The least side of a tile in pixels; 32 at least. Sides that cannot be divided so stay whole.
        swap_size: Among how many ways to divide a side one is drawn for each layer, so that no seam stays.
        max_depth: Up to which level, 0 for the finest alone.
        scale_depth: Whether a tile's side has twice as many cells at each deeper level, in place of as many.

    Outputs:
        MODEL: The model with tiled attention.
    """
    return model.attached(HyperTile(tile_size, swap_size, max_depth, scale_depth))


@node("PatchModelAddDownscale", title="PatchModelAddDownscale (Kohya Deep Shrink)", category=CATEGORY)
def patch_model_add_downscale(
    *,
    model: Model,
    block_number: Annotated[int, Range(1, 32)] = 3,
    downscale_factor: Annotated[float, Range(0.1, 9, step=0.001)] = 2.0,
    start_percent: Share = 0.0,
    end_percent: Share = 0.35,
    downscale_after_skip: bool = True,
    downscale_method: Method = "bicubic",
    upscale_method: Method = "bicubic",
) -> Model:
    """Shrink what the deep part of the UNet sees in early steps, so that large pictures do not repeat what is in them.

    Inputs:
        model: The model.
        block_number: The stage on the way down below which it is smaller, counted from 0.
        downscale_factor: By how much; below 1 it is larger.
        start_percent: From where in the schedule, 0 being the noisiest level.
        end_percent: Up to where in the schedule, 1 being its end.
        downscale_after_skip: Whether the skip connection of that stage keeps its size.
        downscale_method: How it is shrunk.
        upscale_method: How it is enlarged again on the way up.

    Outputs:
        MODEL: The model with the change.
    """
    window = Window.of(model.schedule, start_percent, end_percent)
    shrink = DeepShrink(
        block_number, downscale_factor, downscale_after_skip, downscale_method, upscale_method, window
    )
    shrink.check(model.config)
    return model.attached(shrink)


@node("UNetSelfAttentionMultiply", category=EXPERIMENTS)
def unet_self_attention_multiply(
    *, model: Model, q: Scale = 1.0, k: Scale = 1.0, v: Scale = 1.0, out: Scale = 1.0
) -> Model:
    """Multiply the projections of the picture's attention to itself.

    Inputs:
        model: The model.
        q: What the queries are multiplied by; 1 leaves them.
        k: The same for the keys.
        v: The same for the values.
        out: The same for what comes out, its bias too.

    Outputs:
        MODEL: The changed model.
    """
    return unet_attention_multiplied(model, "attn1", {"to_q": q, "to_k": k, "to_v": v, "to_out.0": out})


@node("UNetCrossAttentionMultiply", category=EXPERIMENTS)
def unet_cross_attention_multiply(
    *, model: Model, q: Scale = 1.0, k: Scale = 1.0, v: Scale = 1.0, out: Scale = 1.0
) -> Model:
    """Multiply the projections of the picture's attention to the prompt.

    Inputs:
        model: The model.
        q: What the queries are multiplied by; 1 leaves them.
        k: The same for the keys.
        v: The same for the values.
        out: The same for what comes out, its bias too.

    Outputs:
        MODEL: The changed model.
    """
    return unet_attention_multiplied(model, "attn2", {"to_q": q, "to_k": k, "to_v": v, "to_out.0": out})


@node("CLIPAttentionMultiply", category=EXPERIMENTS)
def clip_attention_multiply(
    *, clip: Clip, q: Scale = 1.0, k: Scale = 1.0, v: Scale = 1.0, out: Scale = 1.0
) -> Clip:
    """Multiply the projections of the text encoder's attention, weights and biases.

    Inputs:
        clip: The text encoder.
        q: What the queries are multiplied by; 1 leaves them.
        k: The same for the keys.
        v: The same for the values.
        out: The same for what comes out.

    Outputs:
        CLIP: The changed text encoder.
    """
    factors = {"q_proj": q, "k_proj": k, "v_proj": v, "out_proj": out}
    return text_attention_multiplied(clip, factors)
