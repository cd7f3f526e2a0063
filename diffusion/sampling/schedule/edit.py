"""Levels taken apart, turned round, and filled in."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor

from diffusion.sampling.lookup import find
from diffusion.sampling.schedule.formulas import check_steps
from diffusion.sampling.schedule.plan import check_denoise

_INSTEAD_OF_ZERO = 0.0001
"""What a turned-round schedule starts at: samplers divide by the level they start from."""

SPACINGS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "linear": lambda share: share,
        "cosine": lambda share: torch.sin(share * math.pi / 2),
        "sine": lambda share: 1 - torch.cos(share * math.pi / 2),
    }
)
"""How far down from one level to the next, 0..1, by the share of the way."""


def _levels(sigmas: Tensor) -> Tensor:
    """The levels [n] themselves. Raises ValueError when they have another shape, or are not finite."""
    if sigmas.ndim != 1 or not torch.isfinite(sigmas).all():
        raise ValueError(
            f"Noise levels (sigmas) are a list of finite numbers; got {sigmas.tolist()}. "
            "Look at the node they come from."
        )
    return sigmas


def split_at(sigmas: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """The levels of the first `step` steps, and of the rest; the level between is in both."""
    sigmas = _levels(sigmas)
    if step < 0:
        raise ValueError(f"Steps are counted from 0; got {step}.")
    return sigmas[: step + 1], sigmas[step:]


def split_by_share(sigmas: Tensor, denoise: float) -> tuple[Tensor, Tensor]:
    """The same, so that the second part has the share `denoise` of the steps, rounded."""
    check_denoise(denoise)
    steps = max(len(_levels(sigmas)) - 1, 0)
    return split_at(sigmas, steps - round(steps * denoise))


def flipped(sigmas: Tensor) -> Tensor:
    """From the last to the first, for adding noise step by step; a 0 at the start becomes 0.0001."""
    turned = _levels(sigmas).flip(0)
    if len(turned) and turned[0] == 0:
        turned[0] = _INSTEAD_OF_ZERO
    return turned


def with_first(sigmas: Tensor, sigma: float) -> Tensor:
    """The same with another first level. Raises ValueError when there is none."""
    if len(_levels(sigmas)) == 0:
        raise ValueError(
            "These noise levels (sigmas) are empty: there is no first one to set. Raise denoise."
        )
    return torch.cat([sigmas.new_tensor([sigma]), sigmas[1:]])


def extended(sigmas: Tensor, parts: int, *, highest: float, lowest: float, spacing: str) -> Tensor:
    """Each step that starts between `lowest` and `highest`, both included, divided into `parts`."""
    check_steps(parts)
    inner = find(SPACINGS, spacing, kind="spacing")(torch.linspace(0, 1, parts + 1)[1:-1])
    levels: list[Tensor] = []
    for sigma, after in pairwise(_levels(sigmas)):
        levels.append(sigma.reshape(1))
        if lowest <= sigma <= highest:
            levels.append(inner * (after - sigma) + sigma)
    return torch.cat([*levels, sigmas[-1:]])
