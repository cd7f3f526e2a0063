"""Nodes that say how strong hooks are along a run."""

import logging
import math
from typing import Annotated, NamedTuple

from diffusion.hooks.keyframes import INTERPOLATIONS, Keyframe, Keyframes, interpolated, spread
from graph import Choice, Range, Socket, node
from nodes.conditioning_combine import HooksSocket

SCHEDULING = "advanced/hooks/scheduling"
KeyframesSocket = Annotated[Keyframes, Socket("HOOK_KEYFRAMES")]
Percent = Annotated[float, Range(0, 1, step=0.001)]
Multiplier = Annotated[float, Range(-20, 20, step=0.01)]
Interpolated = Annotated[float, Range(0, 10, step=0.001)]
_LOG = logging.getLogger(__name__)


class MadeKeyframes(NamedTuple):
    """Keyframes for hooks."""

    HOOK_KF: KeyframesSocket


@node("SetHookKeyframes", title="Set Hook Keyframes", category=SCHEDULING)
def set_hook_keyframes(*, hooks: HooksSocket, hook_kf: KeyframesSocket | None = None) -> HooksSocket:
    """Let the strength of hooks follow keyframes: what a keyframe says, times the hook's own strength.

    A keyframe holds from the step that reaches its start until the next one's turn; the first one holds from the start.

    Inputs:
        hooks: The hooks.
        hook_kf: The keyframes; nothing leaves the hooks as they are.

    Outputs:
        HOOKS: The hooks with these keyframes, in place of any that they had.
    """
    return hooks if hook_kf is None else hooks.scheduled(hook_kf)


@node("CreateHookKeyframe", title="Create Hook Keyframe", category=SCHEDULING)
def create_hook_keyframe(
    *,
    strength_mult: Multiplier = 1.0,
    start_percent: Percent = 0.0,
    prev_hook_kf: KeyframesSocket | None = None,
) -> MadeKeyframes:
    """From a point of the run on, multiply the strength of hooks.

    Inputs:
        strength_mult: What their strength is multiplied by; 0 turns them off.
        start_percent: From where on, as a share of the timesteps the model was trained at; 0 is the noisiest level.
            In a run that reaches several keyframes at one step, every one still gets a step of its own.
        prev_hook_kf: Further keyframes; of two that begin together the one that was made last counts.

    Outputs:
        HOOK_KF: All keyframes, by their start.
    """
    return MadeKeyframes((prev_hook_kf or Keyframes()).extended(Keyframe(strength_mult, start_percent)))


@node("CreateHookKeyframesInterpolated", title="Create Hook Keyframes Interp.", category=SCHEDULING)
def create_hook_keyframes_interpolated(
    *,
    strength_start: Interpolated = 1.0,
    strength_end: Interpolated = 1.0,
    interpolation: Annotated[str, Choice(INTERPOLATIONS)] = INTERPOLATIONS[0],
    start_percent: Percent = 0.0,
    end_percent: Percent = 1.0,
    keyframes_count: Annotated[int, Range(2, 100)] = 5,
    print_keyframes: bool = False,
    prev_hook_kf: KeyframesSocket | None = None,
) -> MadeKeyframes:
    """Keyframes at even distances that lead from one strength to another.

    Inputs:
        strength_start: What the first one multiplies the strength of hooks by.
        strength_end: What the last one multiplies it by.
        interpolation: How those between lie: evenly (linear), with a slow start (ease_in), a slow end (ease_out), or
            both.
        start_percent: Where the first one begins, as a share of the timesteps the model was trained at.
        end_percent: Where the last one begins; not before start_percent.
        keyframes_count: How many there are. Each that a run reaches makes the hooks' layers anew, once.
        print_keyframes: Log them.
        prev_hook_kf: Further keyframes.

    Outputs:
        HOOK_KF: All keyframes, by their start.
    """
    strengths = interpolated(strength_start, strength_end, keyframes_count, interpolation)
    return _spread(strengths, start_percent, end_percent, print_keyframes, prev_hook_kf)


@node("CreateHookKeyframesFromFloats", title="Create Hook Keyframes From Floats", category=SCHEDULING)
def create_hook_keyframes_from_floats(
    *,
    floats_strength: list[float],
    start_percent: Percent = 0.0,
    end_percent: Percent = 1.0,
    print_keyframes: bool = False,
    prev_hook_kf: KeyframesSocket | None = None,
) -> MadeKeyframes:
    """Keyframes at even distances, with the strengths that a list gives (see NumberRange, ParseList).

    Inputs:
        floats_strength: What each multiplies the strength of hooks by.
        start_percent: Where the first one begins, as a share of the timesteps the model was trained at.
        end_percent: Where the last one begins; not before start_percent.
        print_keyframes: Log them.
        prev_hook_kf: Further keyframes.

    Outputs:
        HOOK_KF: All keyframes, by their start.
    """
    return _spread(floats_strength, start_percent, end_percent, print_keyframes, prev_hook_kf)


def _spread(
    strengths: list[float], start: float, end: float, say: bool, before: Keyframes | None
) -> MadeKeyframes:
    if not all(map(math.isfinite, strengths)):
        raise ValueError(f"The strengths of keyframes are finite numbers; got {strengths}.")
    made = spread(strengths, start, end)
    if say:
        for frame in made:
            _LOG.info("hook keyframe at %.3f: %.3f", frame.start, frame.strength)
    return MadeKeyframes((before or Keyframes()).extended(*made))
