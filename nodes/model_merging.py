"""Nodes that make one model of two. Nothing is copied: weights are added while a network is made."""

from typing import Annotated

from diffusion.merging import (
    Shares,
    all_weights,
    merged_models,
    merged_text_encoders,
    weights_by_prefix,
)
from diffusion.model import Clip, Model
from graph import Range, node

CATEGORY = "advanced/model_merging"
Ratio = Annotated[float, Range(0, 1, step=0.01)]
Multiplier = Annotated[float, Range(-10, 10, step=0.01)]


@node("ModelMergeSimple", category=CATEGORY)
def model_merge_simple(*, model1: Model, model2: Model, ratio: Ratio = 1.0) -> Model:
    """Mix two models: ratio of the first and the rest of the second.

    Inputs:
        model1: The first model. The result keeps everything but its weights.
        model2: The second, of the same sizes. If one of them is an inpainting model, it must be the first.
        ratio: 1 is the first alone, 0 the second.

    Outputs:
        MODEL: The mixture.
    """
    return merged_models(model1, model2, all_weights(model1, Shares.mixed(ratio)))


@node("ModelMergeAdd", category=CATEGORY)
def model_merge_add(*, model1: Model, model2: Model) -> Model:
    """Add a model's weights to those of another: a difference, from ModelMergeSubtract, to a model.

    Inputs:
        model1: The model to add to.
        model2: What to add.

    Outputs:
        MODEL: The sum.
    """
    return merged_models(model1, model2, all_weights(model1, Shares(1.0, 1.0)))


@node("ModelMergeSubtract", category=CATEGORY)
def model_merge_subtract(*, model1: Model, model2: Model, multiplier: Multiplier = 1.0) -> Model:
    """The difference of two models' weights, to be added to a third, or saved as a LoRA.

    Inputs:
        model1: The model to subtract from.
        model2: What to subtract.
        multiplier: What the difference is multiplied by.

    Outputs:
        MODEL: The difference, which draws nothing by itself.
    """
    return merged_models(model1, model2, all_weights(model1, Shares(multiplier, -multiplier)))


@node("ModelMergeBlocks", category=CATEGORY)
def model_merge_blocks(
    *, model1: Model, model2: Model, input: Ratio = 1.0, middle: Ratio = 1.0, out: Ratio = 1.0
) -> Model:
    """Mix two models, by a ratio of its own for each part of the UNet.

    Inputs:
        model1: The first model. The result keeps everything but its weights.
        model2: The second, of the same sizes.
        input: For the way down and the timestep's layers: 1 is the first model alone, 0 the second.
        middle: For the middle block.
        out: For the way up and the last layers.

    Outputs:
        MODEL: The mixture.
    """
    ratios = {"input": input, "middle": middle, "out": out}
    return merged_models(model1, model2, weights_by_prefix(model1, ratios, otherwise=input))


@node("CLIPMergeSimple", category=CATEGORY)
def clip_merge_simple(*, clip1: Clip, clip2: Clip, ratio: Ratio = 1.0) -> Clip:
    """Mix two text encoders: ratio of the first and the rest of the second.

    Inputs:
        clip1: The first text encoder. The result keeps its tokenizer.
        clip2: The second, of the same sizes.
        ratio: 1 is the first alone, 0 the second.

    Outputs:
        CLIP: The mixture.
    """
    return merged_text_encoders(clip1, clip2, all_weights(clip1, Shares.mixed(ratio)))


@node("CLIPMergeAdd", category=CATEGORY)
def clip_merge_add(*, clip1: Clip, clip2: Clip) -> Clip:
    """Add a text encoder's weights to those of another.

    Inputs:
        clip1: The text encoder to add to.
        clip2: What to add.

    Outputs:
        CLIP: The sum.
    """
    return merged_text_encoders(clip1, clip2, all_weights(clip1, Shares(1.0, 1.0)))


@node("CLIPMergeSubtract", category=CATEGORY)
def clip_merge_subtract(*, clip1: Clip, clip2: Clip, multiplier: Multiplier = 1.0) -> Clip:
    """The difference of two text encoders' weights.

    Inputs:
        clip1: The text encoder to subtract from.
        clip2: What to subtract.
        multiplier: What the difference is multiplied by.

    Outputs:
        CLIP: The difference, to be added to a third or saved as a LoRA.
    """
    return merged_text_encoders(clip1, clip2, all_weights(clip1, Shares(multiplier, -multiplier)))
