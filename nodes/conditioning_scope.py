"""Nodes that say where in the picture, when in the run and how strongly a prompt counts."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from diffusion.conditioning.combine import combined, in_area, in_mask, in_range, of_strength
from diffusion.config import LATENT_DOWNSCALE
from diffusion.hooks.group import HookGroup, hooked
from diffusion.types import Area, Conditioning, Mask
from graph import Choice, Range, Socket, node
from nodes.conditioning_combine import PAIR, SINGLE, ConditioningPair, HooksSocket
from nodes.latent import MAX_RESOLUTION

Strength = Annotated[float, Range(0, 10, step=0.01)]
Side = Annotated[int, Range(64, MAX_RESOLUTION, step=8)]
Place = Annotated[int, Range(0, MAX_RESOLUTION, step=8)]
Share = Annotated[float, Range(0, 1, step=0.01)]
Percent = Annotated[float, Range(0, 1, step=0.001)]
CondArea = Annotated[str, Choice(("default", "mask bounds"))]


@dataclass(frozen=True)
class TimestepsRange:
    """A part of the schedule, in shares of it: 0 is the noisiest level, 1 its end."""

    start: float
    end: float


TimestepsSocket = Annotated[TimestepsRange, Socket("TIMESTEPS_RANGE")]


class TimestepsRanges(NamedTuple):
    """A part of the schedule, and what lies before and after it."""

    TIMESTEPS_RANGE: TimestepsSocket
    BEFORE_RANGE: TimestepsSocket
    AFTER_RANGE: TimestepsSocket


@node("ConditioningSetArea", title="Conditioning (Set Area)", category="conditioning")
def conditioning_set_area(
    *,
    conditioning: Conditioning,
    width: Side = 64,
    height: Side = 64,
    x: Place = 0,
    y: Place = 0,
    strength: Strength = 1.0,
) -> Conditioning:
    """Let a prompt count in a rectangle of the picture, and the model look at nothing else for it.

    Where prompts overlap the weighted mean of what the model sees counts, so combine one with a prompt for the whole.
    Edges inside the picture fade over 64 pixels.

    Inputs:
        conditioning: The prompts.
        width: Width of the area in pixels, rounded down to a multiple of 8.
        height: Height of the area in pixels, likewise.
        x: Its left edge, likewise.
        y: Its upper edge, likewise.
        strength: Its weight.

    Outputs:
        CONDITIONING: The prompts, for the area.
    """
    cells = [pixels // LATENT_DOWNSCALE for pixels in (height, width, y, x)]
    area = Area(height=cells[0], width=cells[1], top=cells[2], left=cells[3])
    return in_area(conditioning, area, strength)


@node(
    "ConditioningSetAreaPercentage", title="Conditioning (Set Area with Percentage)", category="conditioning"
)
def conditioning_set_area_percentage(
    *,
    conditioning: Conditioning,
    width: Share = 1.0,
    height: Share = 1.0,
    x: Share = 0.0,
    y: Share = 0.0,
    strength: Strength = 1.0,
) -> Conditioning:
    """Let a prompt count in a rectangle given in shares of the picture's sides (see ConditioningSetArea).

    Inputs:
        conditioning: The prompts.
        width: Width of the area, 1 the picture's.
        height: Height of the area, 1 the picture's.
        x: Its left edge.
        y: Its upper edge.
        strength: Its weight.

    Outputs:
        CONDITIONING: The prompts, for the area.
    """
    return in_area(conditioning, Area(height, width, y, x, shares=True), strength)


@node("ConditioningSetAreaStrength", category="conditioning")
def conditioning_set_area_strength(*, conditioning: Conditioning, strength: Strength = 1.0) -> Conditioning:
    """Set the weight of a prompt among those that it is combined with.

    Inputs:
        conditioning: The prompts.
        strength: Their weight.

    Outputs:
        CONDITIONING: The prompts with that weight.
    """
    return of_strength(conditioning, strength)


@node("ConditioningSetMask", title="Conditioning (Set Mask)", category="conditioning")
def conditioning_set_mask(
    *,
    conditioning: Conditioning,
    mask: Mask,
    strength: Strength = 1.0,
    set_cond_area: CondArea = "default",
) -> Conditioning:
    """Let a prompt count where a mask is 1, and less where it is less.

    Inputs:
        conditioning: The prompts.
        mask: The mask, stretched over the picture. It must not be empty.
        strength: Its weight.
        set_cond_area: default: the model looks at the whole picture, or the area set before. mask bounds: at the box
            around the mask.

    Outputs:
        CONDITIONING: The prompts, for what is masked.
    """
    return in_mask(conditioning, mask, strength, crop=set_cond_area != "default")


@node("ConditioningSetTimestepRange", category="advanced/conditioning")
def conditioning_set_timestep_range(
    *, conditioning: Conditioning, start: Percent = 0.0, end: Percent = 1.0
) -> Conditioning:
    """Let a prompt count in a part of the schedule.

    Inputs:
        conditioning: The prompts.
        start: From where, as a share of the timesteps the model was trained at; 0 is the noisiest level.
        end: Up to where; not before start.

    Outputs:
        CONDITIONING: The prompts, for that part.
    """
    return in_range(conditioning, start, end)


@node("ConditioningTimestepsRange", title="Timesteps Range", category="advanced/hooks")
def conditioning_timesteps_range(
    *, start_percent: Percent = 0.0, end_percent: Percent = 1.0
) -> TimestepsRanges:
    """Name a part of the schedule, for nodes that set properties of prompts.

    Inputs:
        start_percent: Where it begins, as a share of the timesteps the model was trained at.
        end_percent: Where it ends.

    Outputs:
        TIMESTEPS_RANGE: That part.
        BEFORE_RANGE: What comes before it.
        AFTER_RANGE: What comes after it.
    """
    return TimestepsRanges(
        TimestepsRange(start_percent, end_percent),
        TimestepsRange(0.0, start_percent),
        TimestepsRange(end_percent, 1.0),
    )


def _with_properties(
    conditioning: Conditioning,
    strength: float,
    set_cond_area: str,
    mask: Mask | None,
    hooks: HookGroup | None,
    timesteps: TimestepsRange | None,
) -> Conditioning:
    """The strength is the mask's, as ComfyUI has it: without a mask it changes nothing."""
    conditioning = hooked(conditioning, hooks)
    if mask is not None:
        conditioning = in_mask(conditioning, mask, strength, crop=set_cond_area != "default")
    return conditioning if timesteps is None else in_range(conditioning, timesteps.start, timesteps.end)


@node("ConditioningSetProperties", title="Cond Set Props", category=SINGLE)
def conditioning_set_properties(
    *,
    cond_NEW: Conditioning,
    strength: Strength = 1.0,
    set_cond_area: CondArea = "default",
    mask: Mask | None = None,
    hooks: HooksSocket | None = None,
    timesteps: TimestepsSocket | None = None,
) -> Conditioning:
    """Say where and when a prompt counts, and with which hooks, in one node.

    Inputs:
        cond_NEW: The prompts.
        strength: The mask's weight.
        set_cond_area: Whether the model looks at the whole picture (default) or at the box around the mask.
        mask: Where they count. It must not be empty.
        hooks: Changes of the model for them alone.
        timesteps: When they count.

    Outputs:
        CONDITIONING: The prompts with these properties.
    """
    return _with_properties(cond_NEW, strength, set_cond_area, mask, hooks, timesteps)


@node("ConditioningSetPropertiesAndCombine", title="Cond Set Props Combine", category=SINGLE)
def conditioning_set_properties_and_combine(
    *,
    cond: Conditioning,
    cond_NEW: Conditioning,
    strength: Strength = 1.0,
    set_cond_area: CondArea = "default",
    mask: Mask | None = None,
    hooks: HooksSocket | None = None,
    timesteps: TimestepsSocket | None = None,
) -> Conditioning:
    """Say where and when a prompt counts, and with which hooks, and combine it with others.

    Inputs:
        cond: The others.
        cond_NEW: The prompts that the properties are for.
        strength: The mask's weight.
        set_cond_area: Whether the model looks at the whole picture (default) or at the box around the mask.
        mask: Where they count. It must not be empty.
        hooks: Changes of the model for them alone.
        timesteps: When they count.

    Outputs:
        CONDITIONING: All prompts.
    """
    return combined(cond, _with_properties(cond_NEW, strength, set_cond_area, mask, hooks, timesteps))


@node("PairConditioningSetProperties", title="Cond Pair Set Props", category=PAIR)
def pair_conditioning_set_properties(
    *,
    positive_NEW: Conditioning,
    negative_NEW: Conditioning,
    strength: Strength = 1.0,
    set_cond_area: CondArea = "default",
    mask: Mask | None = None,
    hooks: HooksSocket | None = None,
    timesteps: TimestepsSocket | None = None,
) -> ConditioningPair:
    """Say where and when a pair of prompts counts, and with which hooks.

    Inputs:
        positive_NEW: What to show.
        negative_NEW: What to avoid.
        strength: The mask's weight.
        set_cond_area: Whether the model looks at the whole picture (default) or at the box around the mask.
        mask: Where they count. It must not be empty.
        hooks: Changes of the model for them alone.
        timesteps: When they count.

    Outputs:
        positive: What to show, with these properties.
        negative: What to avoid, with these properties.
    """
    return ConditioningPair(
        _with_properties(positive_NEW, strength, set_cond_area, mask, hooks, timesteps),
        _with_properties(negative_NEW, strength, set_cond_area, mask, hooks, timesteps),
    )


@node("PairConditioningSetPropertiesAndCombine", title="Cond Pair Set Props Combine", category=PAIR)
def pair_conditioning_set_properties_and_combine(
    *,
    positive: Conditioning,
    negative: Conditioning,
    positive_NEW: Conditioning,
    negative_NEW: Conditioning,
    strength: Strength = 1.0,
    set_cond_area: CondArea = "default",
    mask: Mask | None = None,
    hooks: HooksSocket | None = None,
    timesteps: TimestepsSocket | None = None,
) -> ConditioningPair:
    """Say where and when a pair of prompts counts, and with which hooks, and combine it with another pair.

    Inputs:
        positive: What to show.
        negative: What to avoid.
        positive_NEW: What to show where and when the properties say.
        negative_NEW: What to avoid where and when the properties say.
        strength: The mask's weight.
        set_cond_area: Whether the model looks at the whole picture (default) or at the box around the mask.
        mask: Where they count. It must not be empty.
        hooks: Changes of the model for them alone.
        timesteps: When they count.

    Outputs:
        positive: All that is to be shown.
        negative: All that is to be avoided.
    """
    new = pair_conditioning_set_properties(
        positive_NEW=positive_NEW,
        negative_NEW=negative_NEW,
        strength=strength,
        set_cond_area=set_cond_area,
        mask=mask,
        hooks=hooks,
        timesteps=timesteps,
    )
    return ConditioningPair(combined(positive, new.positive), combined(negative, new.negative))
