"""Nodes that put encoded prompts together."""

from typing import Annotated, NamedTuple

from diffusion.conditioning.combine import as_fallback, averaged, combined, concatenated, zeroed
from diffusion.hooks.group import HookGroup, hooked
from diffusion.types import Conditioning
from graph import Range, Socket, node

HooksSocket = Annotated[HookGroup, Socket("HOOKS")]
SINGLE = "advanced/hooks/cond single"
PAIR = "advanced/hooks/cond pair"


class ConditioningPair(NamedTuple):
    """What to show, and what to avoid."""

    positive: Conditioning
    negative: Conditioning


@node("ConditioningCombine", title="Conditioning (Combine)", category="conditioning")
def conditioning_combine(*, conditioning_1: Conditioning, conditioning_2: Conditioning) -> Conditioning:
    """Show several prompts: the model looks at each on its own, and the mean of what it sees counts.

    Prompts for areas, masks and parts of the schedule are put together with this.

    Inputs:
        conditioning_1: One or more prompts.
        conditioning_2: One or more prompts.

    Outputs:
        CONDITIONING: All of them.
    """
    return combined(conditioning_1, conditioning_2)


@node("ConditioningConcat", title="Conditioning (Concat)", category="conditioning")
def conditioning_concat(*, conditioning_to: Conditioning, conditioning_from: Conditioning) -> Conditioning:
    """Put a prompt behind others, so that the model attends to both at once.

    Inputs:
        conditioning_to: One or more prompts.
        conditioning_from: What to put behind each; of several prompts the first.

    Outputs:
        CONDITIONING: The longer prompts, [B, 77 x chunks of both, width].
    """
    return concatenated(conditioning_to, conditioning_from)


@node("ConditioningAverage", category="conditioning")
def conditioning_average(
    *,
    conditioning_to: Conditioning,
    conditioning_from: Conditioning,
    conditioning_to_strength: Annotated[float, Range(0, 1, step=0.01)] = 1.0,
) -> Conditioning:
    """Mix the vectors of two prompts.

    Inputs:
        conditioning_to: One or more prompts, whose length is kept.
        conditioning_from: What to mix into each; of several prompts the first.
        conditioning_to_strength: The share of conditioning_to.

    Outputs:
        CONDITIONING: The mixed prompts.
    """
    return averaged(conditioning_to, conditioning_from, conditioning_to_strength)


@node("ConditioningZeroOut", category="advanced/conditioning")
def conditioning_zero_out(*, conditioning: Conditioning) -> Conditioning:
    """Put zeros in place of a prompt's vectors, which is not the same as an empty prompt.

    Inputs:
        conditioning: The prompts.

    Outputs:
        CONDITIONING: As many vectors, all of them 0.
    """
    return zeroed(conditioning)


@node("PairConditioningCombine", title="Cond Pair Combine", category=PAIR)
def pair_conditioning_combine(
    *,
    positive_A: Conditioning,
    negative_A: Conditioning,
    positive_B: Conditioning,
    negative_B: Conditioning,
) -> ConditioningPair:
    """Combine two pairs of prompts.

    Inputs:
        positive_A: What to show.
        negative_A: What to avoid.
        positive_B: What to show as well.
        negative_B: What to avoid as well.

    Outputs:
        positive: All that is to be shown.
        negative: All that is to be avoided.
    """
    return ConditioningPair(combined(positive_A, positive_B), combined(negative_A, negative_B))


@node("ConditioningSetDefaultCombine", title="Cond Set Default Combine", category=SINGLE)
def conditioning_set_default_combine(
    *, cond: Conditioning, cond_DEFAULT: Conditioning, hooks: HooksSocket | None = None
) -> Conditioning:
    """Fill with a prompt what the areas and masks of others leave over.

    Inputs:
        cond: Prompts for parts of the picture.
        cond_DEFAULT: The prompt for the rest of it.
        hooks: Changes of the model for that prompt alone.

    Outputs:
        CONDITIONING: All of them.
    """
    return combined(cond, as_fallback(hooked(cond_DEFAULT, hooks)))


@node("PairConditioningSetDefaultCombine", title="Cond Pair Set Default Combine", category=PAIR)
def pair_conditioning_set_default_combine(
    *,
    positive: Conditioning,
    negative: Conditioning,
    positive_DEFAULT: Conditioning,
    negative_DEFAULT: Conditioning,
    hooks: HooksSocket | None = None,
) -> ConditioningPair:
    """Fill with a pair of prompts what the areas and masks of others leave over.

    Inputs:
        positive: What to show in parts of the picture.
        negative: What to avoid in parts of the picture.
        positive_DEFAULT: What to show in the rest of it.
        negative_DEFAULT: What to avoid in the rest of it.
        hooks: Changes of the model for the prompts for the rest alone.

    Outputs:
        positive: All that is to be shown.
        negative: All that is to be avoided.
    """
    return ConditioningPair(
        conditioning_set_default_combine(cond=positive, cond_DEFAULT=positive_DEFAULT, hooks=hooks),
        conditioning_set_default_combine(cond=negative, cond_DEFAULT=negative_DEFAULT, hooks=hooks),
    )
