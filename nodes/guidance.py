"""Nodes that change how a model's predictions under two prompts are combined."""

from dataclasses import replace
from typing import Annotated, NamedTuple

from diffusion.model import Model
from diffusion.sampling.transforms.differential import ChangeMap
from diffusion.sampling.transforms.directions import (
    AdaptiveProjection,
    ScaleFrequencies,
    scaled_from_zero,
    tangentially_damped,
    toward_the_prompt,
)
from diffusion.sampling.transforms.perpendicular import PerpendicularNegative
from diffusion.sampling.transforms.rescaling import Normalize, Renormalize, Rescale, ScaleNoise
from diffusion.sampling.transforms.thresholding import CURVES, DynamicThreshold, ScaleCurve
from diffusion.types import Conditioning
from graph import Choice, Range, node

Scale = Annotated[float, Range(0, 100, step=0.5)]
Strength = Annotated[float, Range(0, 100, step=0.01)]
Share = Annotated[float, Range(0, 1, step=0.01)]
Curve = Annotated[str, Choice(tuple(CURVES))]


class PatchedModel(NamedTuple):
    """One model."""

    patched_model: Model


@node("RescaleCFG", category="advanced/model")
def rescale_cfg(
    *,
    model: Model,
    multiplier: Share = 0.7,
    rescaled: Annotated[str, Choice(("v_prediction", "eps"))] = "v_prediction",
) -> Model:
    """Keep high guidance from burning pictures out: its result as varied as that of the prompt alone (Lin et al. 2023).

    Inputs:
        model: The model.
        multiplier: How much; guidance_rescale in other programs. 0 changes nothing.
        rescaled: What is brought to the same deviation: v, or the noise, as diffusers and DiffSynth do.

    Outputs:
        MODEL: The model.
    """
    rescale = Rescale(multiplier, of_noise=rescaled == "eps")
    return replace(model, guidance=model.guidance.combined_by(rescale))


@node("RenormCFG", category="advanced/model")
def renorm_cfg(*, model: Model, cfg_trunc: Strength = 100.0, renorm_cfg: Strength = 1.0) -> Model:
    """Hold what guidance leads to at the length of what the prompt alone leads to.

    Inputs:
        model: The model.
        cfg_trunc: Guide only below this noise level.
        renorm_cfg: The longest it may be, as a multiple; 0 holds nothing.

    Outputs:
        MODEL: The model.
    """
    return replace(model, guidance=model.guidance.combined_by(Renormalize(cfg_trunc, renorm_cfg)))


@node("CFGZeroStar", category="advanced/guidance")
def cfg_zero_star(*, model: Model) -> PatchedModel:
    """Guide from the best multiple of the negative prediction (Fan et al. 2025, CFG-Zero*).

    Inputs:
        model: The model.

    Outputs:
        patched_model: The model.
    """
    return PatchedModel(replace(model, guidance=model.guidance.then(scaled_from_zero)))


@node("CFGNorm", category="advanced/guidance")
def cfg_norm(*, model: Model, strength: Strength = 1.0) -> PatchedModel:
    """Hold what guidance leads to, at each place, at the length of what the prompt alone leads to.

    Inputs:
        model: The model.
        strength: A factor on the result; 1 is none.

    Outputs:
        patched_model: The model.
    """
    return PatchedModel(replace(model, guidance=model.guidance.then(Normalize(strength))))


@node("TCFG", title="Tangential Damping CFG", category="advanced/guidance")
def tcfg(*, model: Model) -> PatchedModel:
    """Leave out of the negative prediction what it does not share with the positive one (Kwon et al. 2025).

    Inputs:
        model: The model.

    Outputs:
        patched_model: The model.
    """
    return PatchedModel(replace(model, guidance=model.guidance.first(tangentially_damped)))


@node("Mahiro", title="Mahiro CFG", category="_for_testing")
def mahiro(*, model: Model) -> PatchedModel:
    """Guide by the positive prompt's direction rather than by its difference from the negative one.

    Inputs:
        model: The model.

    Outputs:
        patched_model: The model.
    """
    return PatchedModel(replace(model, guidance=model.guidance.then(toward_the_prompt)))


@node("APG", title="Adaptive Projected Guidance", category="sampling/custom_sampling")
def apg(
    *,
    model: Model,
    eta: Annotated[float, Range(-10, 10, step=0.01)] = 1.0,
    norm_threshold: Annotated[float, Range(0, 50, step=0.1)] = 5.0,
    momentum: Annotated[float, Range(-5, 1, step=0.01)] = 0.0,
) -> Model:
    """Weaken the part of guidance that burns pictures out (Sadat et al. 2024).

    Inputs:
        model: The model.
        eta: How much of the part along the prediction itself is kept; 1 all of it.
        norm_threshold: The longest guidance may be; 0 is no limit.
        momentum: How much of earlier guidance is added; negative leads away from it, 0 is none.

    Outputs:
        MODEL: The model.
    """
    change = AdaptiveProjection(eta, norm_threshold, momentum)
    return replace(model, guidance=model.guidance.first(change))


@node("FreSca", category="_for_testing")
def fresca(
    *,
    model: Model,
    scale_low: Annotated[float, Range(0, 10, step=0.01)] = 1.0,
    scale_high: Annotated[float, Range(0, 10, step=0.01)] = 1.25,
    freq_cutoff: Annotated[int, Range(1, 10_000)] = 20,
) -> Model:
    """Scale guidance apart in its coarse and in its fine structure (Huang et al. 2025).

    Inputs:
        model: The model.
        scale_low: Of low frequencies.
        scale_high: Of high frequencies.
        freq_cutoff: How many frequencies count as low; a latent has half its side of them.

    Outputs:
        MODEL: The model.
    """
    change = ScaleFrequencies(scale_low, scale_high, freq_cutoff)
    return replace(model, guidance=model.guidance.first(change))


@node("Epsilon Scaling", category="model_patches/unet")
def epsilon_scaling(
    *, model: Model, scaling_factor: Annotated[float, Range(0.5, 1.5, step=0.001)] = 1.005
) -> Model:
    """Divide the predicted noise, which a model takes for too strong the longer it samples (Ning et al. 2024).

    Inputs:
        model: The model.
        scaling_factor: By how much; 1 changes nothing.

    Outputs:
        MODEL: The model.
    """
    return replace(model, guidance=model.guidance.then(ScaleNoise(scaling_factor)))


@node("PerpNeg", title="Perp-Neg (as a model patch)", category="_for_testing")
def perp_neg(*, model: Model, empty_conditioning: Conditioning, neg_scale: Strength = 1.0) -> Model:
    """Lead away only from what in the negative prompt is not part of the positive one (Armandpour et al. 2023).

    Inputs:
        model: The model.
        empty_conditioning: An empty prompt.
        neg_scale: How strongly to avoid.

    Outputs:
        MODEL: The model. PerpNegGuider does the same with fewer calls of it.
    """
    guidance = model.guidance.combined_by(PerpendicularNegative(empty_conditioning, neg_scale))
    asked = (*guidance.conditionings, empty_conditioning)
    return replace(model, guidance=replace(guidance, needs_uncond=True, conditionings=asked))


@node("DynamicThresholdingSimple", category="advanced/mcmonkey")
def dynamic_thresholding_simple(
    *, model: Model, mimic_scale: Scale = 7.0, threshold_percentile: Share = 1.0
) -> Model:
    """A high cfg with the colours of a lower one (A. Goodwin's dynamic thresholding).

    Inputs:
        model: The model.
        mimic_scale: The cfg whose range of values the result gets.
        threshold_percentile: The share of the values that sets the range; the others are clamped.

    Outputs:
        MODEL: The model.
    """
    threshold = DynamicThreshold(model.schedule, mimic_scale, threshold_percentile)
    return replace(model, guidance=model.guidance.combined_by(threshold))


@node("DynamicThresholdingFull", category="advanced/mcmonkey")
def dynamic_thresholding_full(
    *,
    model: Model,
    mimic_scale: Scale = 7.0,
    threshold_percentile: Share = 1.0,
    mimic_mode: Curve = "Constant",
    mimic_scale_min: Scale = 0.0,
    cfg_mode: Curve = "Constant",
    cfg_scale_min: Scale = 0.0,
    sched_val: Strength = 1.0,
    separate_feature_channels: Annotated[str, Choice(("enable", "disable"))] = "enable",
    scaling_startpoint: Annotated[str, Choice(("MEAN", "ZERO"))] = "MEAN",
    variability_measure: Annotated[str, Choice(("AD", "STD"))] = "AD",
    interpolate_phi: Share = 1.0,
) -> Model:
    """A high cfg with the colours of a lower one, with all its options (A. Goodwin's dynamic thresholding).

    Inputs:
        model: The model.
        mimic_scale: The cfg whose range of values the result gets.
        threshold_percentile: The share of the values that sets the range; the others are clamped.
        mimic_mode: How mimic_scale changes over the run.
        mimic_scale_min: The lowest that mimic_mode takes it to.
        cfg_mode: How cfg changes over the run.
        cfg_scale_min: The lowest that cfg_mode takes it to.
        sched_val: The power or the number of repetitions, for the modes that have one.
        separate_feature_channels: Whether each channel of the latent has a range of its own.
        scaling_startpoint: Whether ranges are around the mean, or around 0.
        variability_measure: Whether a range is the greatest absolute difference, or the standard deviation.
        interpolate_phi: How much of the result is mixed with plain guidance; 1 is the result alone.

    Outputs:
        MODEL: The model.
    """
    threshold = DynamicThreshold(
        model.schedule,
        mimic_scale,
        threshold_percentile,
        mimic_curve=ScaleCurve(mimic_mode, mimic_scale_min, sched_val),
        scale_curve=ScaleCurve(cfg_mode, cfg_scale_min, sched_val),
        by_channel=separate_feature_channels == "enable",
        from_mean=scaling_startpoint == "MEAN",
        by_deviation=variability_measure == "STD",
        mix=interpolate_phi,
    )
    return replace(model, guidance=model.guidance.combined_by(threshold))


@node("DifferentialDiffusion", title="Differential Diffusion", category="_for_testing")
def differential_diffusion(*, model: Model, strength: Share = 1.0) -> Model:
    """Let the grey of a latent's noise mask say how much each place may change (Levin and Fried 2023).

    Inputs:
        model: The model.
        strength: 1 takes the mask for such a map, 0 as it is, between mixes both.

    Outputs:
        MODEL: The model.
    """
    return replace(model, mask_rule=ChangeMap(strength))
