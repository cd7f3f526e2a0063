"""Nodes that choose what sampling follows."""

from typing import Annotated

from diffusion.model import Model
from diffusion.sampling.guidance import CFG, Guider
from diffusion.sampling.guiders.basic import Unguided
from diffusion.sampling.guiders.dual import DualCFG
from diffusion.sampling.guiders.perp_neg import PerpNeg
from diffusion.types import Conditioning
from graph import Choice, Range, node
from nodes.sampling import Cfg

CATEGORY = "sampling/custom_sampling/guiders"


@node("BasicGuider", category=CATEGORY)
def basic_guider(*, model: Model, conditioning: Conditioning) -> Guider:
    """Follow one prompt, without guidance.

    Inputs:
        model: The model that denoises.
        conditioning: What to show.

    Outputs:
        GUIDER: The guider.
    """
    return Unguided(model, conditioning)


@node("CFGGuider", category=CATEGORY)
def cfg_guider(*, model: Model, positive: Conditioning, negative: Conditioning, cfg: Cfg = 8.0) -> Guider:
    """Follow one prompt and lead away from another, as KSampler does.

    Inputs:
        model: The model that denoises.
        positive: What to show.
        negative: What to avoid.
        cfg: Guidance: 1 follows the model alone, higher values follow the prompt more closely.

    Outputs:
        GUIDER: The guider.
    """
    return CFG(model, positive, negative, cfg)


@node("DualCFGGuider", category=CATEGORY)
def dual_cfg_guider(
    *,
    model: Model,
    cond1: Conditioning,
    cond2: Conditioning,
    negative: Conditioning,
    cfg_conds: Cfg = 8.0,
    cfg_cond2_negative: Cfg = 8.0,
    style: Annotated[str, Choice(("regular", "nested"))] = "regular",
) -> Guider:
    """Follow two prompts at two scales (Brooks et al. 2023, InstructPix2Pix).

    Inputs:
        model: The model that denoises.
        cond1: What to show.
        cond2: What to show as well, from which cond1 leads on.
        negative: What to avoid.
        cfg_conds: Guidance from cond2 towards cond1.
        cfg_cond2_negative: Guidance from negative towards cond2.
        style: Whether the two are added, or the second is applied to the result of the first.

    Outputs:
        GUIDER: The guider.
    """
    return DualCFG(model, cond1, cond2, negative, cfg_conds, cfg_cond2_negative, style == "nested")


@node("PerpNegGuider", category="_for_testing")
def perp_neg_guider(
    *,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    empty_conditioning: Conditioning,
    cfg: Cfg = 8.0,
    neg_scale: Annotated[float, Range(0, 100, step=0.01)] = 1.0,
) -> Guider:
    """Lead away only from what in the negative prompt is not part of the positive one (Armandpour et al. 2023).

    Inputs:
        model: The model that denoises.
        positive: What to show.
        negative: What to avoid.
        empty_conditioning: An empty prompt.
        cfg: Guidance: 1 follows the model alone, higher values follow the prompts more closely.
        neg_scale: How strongly to avoid.

    Outputs:
        GUIDER: The guider.
    """
    return PerpNeg(model, positive, negative, empty_conditioning, cfg, neg_scale)
