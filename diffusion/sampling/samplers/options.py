"""The options of samplers: which there are, by what their functions declare, and whether a value is of their kind."""

import inspect
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diffusion.sampling.samplers.steps import Sampler


def option_types(sampler: Sampler) -> dict[str, Any]:
    """The sampler's options and their types: float, int, bool, a Literal of choices, or one of those or None."""
    hints = get_type_hints(sampler.steps)
    return {
        parameter.name: hints[parameter.name]
        for parameter in inspect.signature(sampler.steps).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def check_option(sampler: str, option: str, value: object, kind: Any) -> None:
    """Raises ValueError, naming sampler and option, unless the value is of that kind; numbers must not be NaN."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices:
            raise ValueError(
                f"{sampler}'s {option} is one of {', '.join(map(repr, choices))}; got {value!r}."
            )
        return
    kinds = get_args(kind) or (kind,)
    fits = type(value) in kinds or (float in kinds and type(value) is int)
    if fits and not (isinstance(value, float) and math.isnan(value)):
        return
    words = {float: "a number", int: "a whole number", bool: "true or false", type(None): "None"}
    raise ValueError(
        f"{sampler}'s {option} must be {' or '.join(words[each] for each in kinds)}; got {value!r}."
    )
